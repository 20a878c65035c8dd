#include "follower/connection/connection.hpp"

#include <stdexcept>
#include <utility>

namespace backplane::follower {
namespace {

// Well above the longest interval between two attempts of libzmq (SocketOptions: 1 s).
constexpr std::chrono::seconds idle_max{3};

}  // namespace

Connection::Connection(mq::Context& context, mq::Socket& socket, std::string endpoint)
    : socket_(socket), monitor_(context, socket), endpoint_(std::move(endpoint)) {
  if (auto result = socket_.connect(endpoint_); !result) throw std::invalid_argument(result.error().text);
}

Connection::Change Connection::next() {
  for (;;) {
    switch (monitor_.next()) {
      case mq::ConnectionEvent::none:
        return Change::none;
      case mq::ConnectionEvent::connected:
        up_ = true;
        idle_since_.reset();
        return Change::up;
      case mq::ConnectionEvent::disconnected:
        up_ = false;
        idle_since_.reset();
        return Change::down;
      case mq::ConnectionEvent::accepted:  // only at listening sockets
      case mq::ConnectionEvent::other:
        break;
    }
  }
}

void Connection::reconnect_if_stalled(Clock::time_point now) {
  if (up_) return;
  if (!idle_since_) idle_since_ = now;
  if (now - *idle_since_ < idle_max) return;
  idle_since_ = now;
  zmq_disconnect(socket_.raw().handle(), endpoint_.c_str());  // fails if libzmq has dropped it already
  // The endpoint is valid, so this fails only without sockets or memory, and is tried again later.
  (void)socket_.connect(endpoint_);
}

Connection::Clock::time_point Connection::next_deadline() const noexcept {
  if (up_) return Clock::time_point::max();
  return idle_since_ ? *idle_since_ + idle_max : Clock::time_point::min();
}

}  // namespace backplane::follower
