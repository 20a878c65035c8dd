#include "follower/connection/connection.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "core/error/error.hpp"
#include "core/net/transferred_bytes.hpp"
#include "core/zmq/in_process.hpp"

namespace backplane::follower {
namespace {

// Well above the longest interval between two attempts of libzmq (SocketOptions: 1 s).
constexpr std::chrono::seconds idle_max{3};
// An address that neither accepts nor refuses is left after this time, if there are others.
constexpr std::chrono::seconds silence_max{1};
constexpr std::chrono::milliseconds pause_min{100};
constexpr std::chrono::milliseconds pause_max{1000};

/// Replaces the keys of later connections.
void use_keys(mq::Socket& socket, const mq::CurveClient& keys) {
  const auto bytes = [](const auto& key) { return zmq::const_buffer(key.data(), key.size()); };
  socket.raw().set(zmq::sockopt::curve_secretkey, bytes(keys.secret_key));
  socket.raw().set(zmq::sockopt::curve_publickey, bytes(keys.public_key));
  socket.raw().set(zmq::sockopt::curve_serverkey, bytes(keys.server_key));
}

}  // namespace

Connection::Connection(mq::Context& context, mq::Socket& socket, const std::string& endpoint,
                       const mq::SharedKeys& keys)
    : socket_(socket),
      monitor_(context, socket),
      keys_(keys, endpoint),
      addresses_(endpoint),
      endpoint_(addresses_.current()),
      in_process_(mq::is_in_process(endpoint)),
      pause_(pause_min) {
  if (auto result = socket_.connect(endpoint_); !result) throw std::invalid_argument(result.error().text);
}

Connection::Change Connection::next() {
  if (std::exchange(replaced_, false)) return Change::down;
  if (in_process_) return std::exchange(up_, true) ? Change::none : Change::up;
  for (;;) {
    const mq::ConnectionEvent event = monitor_.next();
    if (event != mq::ConnectionEvent::none && !left_.empty() && monitor_.endpoint() == left_) continue;
    switch (event) {
      case mq::ConnectionEvent::none:
        return Change::none;
      case mq::ConnectionEvent::opened:
        descriptor_ = monitor_.descriptor();
        break;
      case mq::ConnectionEvent::connected:
        up_ = true;
        keys_.on_connected();
        refused_ = false;
        trying_since_.reset();
        pause_ = pause_min;
        idle_since_.reset();
        return Change::up;
      case mq::ConnectionEvent::disconnected:
        // A report of the address before may come late.
        if (!up_ && monitor_.endpoint() == endpoint_) refused_ = true;
        keys_.on_failure(monitor_.failure(), endpoint_, Clock::now());
        up_ = false;
        idle_since_.reset();
        return Change::down;
      case mq::ConnectionEvent::accepted:  // only at listening sockets
      case mq::ConnectionEvent::other:
        break;
    }
  }
}

std::optional<std::uint64_t> Connection::received_bytes() const {
  return up_ ? backplane::received_bytes(descriptor_) : std::nullopt;
}

void Connection::reconnect_if_stalled(Clock::time_point now) {
  if (up_) return;
  if (!trying_since_) trying_since_ = now;
  // To leave an address discards what has been received from it and is unread.
  if (now >= change_address_at() && !socket_.readable()) return change_address(now);
  if (!idle_since_) idle_since_ = now;
  if (now - *idle_since_ < idle_max) return;
  idle_since_ = now;
  connect_again();
}

void Connection::replace() {
  if (!up_) return;
  up_ = false;
  replaced_ = true;
  idle_since_.reset();
  connect_again();
}

void Connection::move_to(const std::string& endpoint, const mq::SharedKeys& keys) {
  CHECK(!in_process_ && !mq::is_in_process(endpoint), "a connection within the process has no other place");
  if (keys) use_keys(socket_, keys->curve);
  socket_.disconnect(endpoint_);
  left_ = endpoint_;
  keys_ = mq::KeyCheck(keys, endpoint);
  addresses_ = EndpointAddresses(endpoint);
  endpoint_ = addresses_.current();
  if (left_ == endpoint_) left_.clear();
  up_ = refused_ = false;
  replaced_ = true;
  descriptor_ = -1;
  trying_since_.reset();
  idle_since_.reset();
  pause_ = pause_min;
  paused_until_ = Clock::time_point::min();
  (void)socket_.connect(endpoint_);  // as in connect_again()
}

void Connection::connect_again() {
  socket_.disconnect(endpoint_);
  // The endpoint is valid, so this fails only without sockets or memory, and is tried again later.
  (void)socket_.connect(endpoint_);
}

Connection::Clock::time_point Connection::next_deadline() const noexcept {
  if (replaced_) return Clock::time_point::min();
  if (up_) return Clock::time_point::max();
  if (!idle_since_) return Clock::time_point::min();
  return std::min(*idle_since_ + idle_max, change_address_at());
}

Connection::Clock::time_point Connection::change_address_at() const noexcept {
  if (!addresses_.may_change() || !trying_since_) return Clock::time_point::max();
  return std::max(paused_until_, refused_ ? *trying_since_ : *trying_since_ + silence_max);
}

void Connection::change_address(Clock::time_point now) {
  refused_ = false;
  trying_since_ = now;
  if (addresses_.next()) {
    paused_until_ = now + pause_;
    pause_ = std::min<Clock::duration>(2 * pause_, pause_max);
  }
  if (addresses_.current() == endpoint_) return;  // libzmq continues to try it
  socket_.disconnect(endpoint_);
  endpoint_ = addresses_.current();
  idle_since_ = now;
  (void)socket_.connect(endpoint_);  // as above
}

}  // namespace backplane::follower
