#pragma once
// A socket's one outgoing connection, kept up.

#include <chrono>
#include <optional>
#include <string>

#include "core/zmq/socket.hpp"

namespace backplane::follower {

/// Connects a socket, says when the connection comes and goes, and begins anew where libzmq has given
/// up: it reconnects by itself after a lost connection, but never again after a protocol error (a peer
/// that is no ZeroMQ, a message above the limit). Lives on the socket's thread and dies before it.
class Connection {
 public:
  using Clock = std::chrono::steady_clock;
  enum class Change { none, up, down };

  /// Throws std::invalid_argument for an endpoint that cannot be used.
  Connection(mq::Context& context, mq::Socket& socket, std::string endpoint);

  /// What happened next, in order; `none`: no more now. `down` may come several times running, and for
  /// a connection that never was up.
  [[nodiscard]] Change next();
  /// Begins anew where there has been neither a connection nor an attempt for some seconds.
  /// Call it with each turn, when next() has no more.
  void reconnect_if_stalled(Clock::time_point now);
  [[nodiscard]] Clock::time_point next_deadline() const noexcept;

  [[nodiscard]] bool up() const noexcept { return up_; }
  [[nodiscard]] bool pending() { return monitor_.socket().readable(); }
  [[nodiscard]] int fd() { return monitor_.fd(); }
  void release() { monitor_.socket().release(); }

 private:
  mq::Socket& socket_;
  mq::Monitor monitor_;
  std::string endpoint_;
  bool up_{};
  std::optional<Clock::time_point> idle_since_;  // no connection, and no word of an attempt
};

}  // namespace backplane::follower
