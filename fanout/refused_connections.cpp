#include "fanout/refused_connections.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include <sys/epoll.h>
#include <sys/socket.h>

namespace backplane::fanout {
namespace {

// A client that sends nothing is answered after this time.
constexpr std::chrono::seconds answer_wait{1};
// The peer's time to close, after the answer.
constexpr std::chrono::seconds close_wait{1};
// Enough of a first line to know its protocol.
constexpr std::size_t begun_bytes_max = 1024;
constexpr int reads_per_turn = 8;

}  // namespace

void RefusedConnections::add(Descriptor socket, Refusal why, std::size_t listener, Clock::time_point now) {
  if (!connections_.empty() && connections_.size() >= connections_max_) {
    (void)step(connections_.front(), now, true);
    connections_.pop_front();
  }
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = UINT64_MAX;
  // Without it, the deadline finds the bytes.
  (void)::epoll_ctl(epoll_, EPOLL_CTL_ADD, socket.get(), &event);
  connections_.push_back({std::move(socket), why, listener, now + answer_wait, {}, false});
  if (step(connections_.back(), now, false)) connections_.pop_back();
}

void RefusedConnections::turn(Clock::time_point now) {
  connections_.remove_if([&](Connection& each) { return step(each, now, false); });
}

RefusedConnections::Clock::time_point RefusedConnections::next_deadline() const noexcept {
  Clock::time_point next = Clock::time_point::max();
  for (const Connection& each : connections_) next = std::min(next, each.until);
  return next;
}

/// Reads what there is; after the answer, it is discarded. @returns whether the peer has closed.
bool RefusedConnections::read(Connection& connection) const {
  std::array<char, 1024> buffer;
  for (int i = 0; i < reads_per_turn; ++i) {
    const ssize_t got = ::recv(connection.socket.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (got == 0) return true;
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno != EAGAIN && errno != EWOULDBLOCK;
    if (connection.begun.size() < begun_bytes_max) {
      connection.begun.append(buffer.data(), static_cast<std::size_t>(got));
    }
  }
  return false;
}

bool RefusedConnections::step(Connection& connection, Clock::time_point now, bool last) const {
  const bool ended = read(connection);
  last = last || ended || now >= connection.until;
  if (!connection.answered) {
    const bool full = connection.begun.size() >= begun_bytes_max;
    const std::string answer = answer_({connection.why, connection.listener, connection.begun, last || full});
    if (answer.empty() && !last) return false;
    // Best effort: the socket's buffer is empty, so the answer fits.
    (void)::send(connection.socket.get(), answer.data(), answer.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    ::shutdown(connection.socket.get(), SHUT_WR);
    connection.answered = true;
    connection.until = now + close_wait;
    return ended;
  }
  return last;
}

}  // namespace backplane::fanout
