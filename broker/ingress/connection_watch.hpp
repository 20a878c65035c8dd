#pragma once
// The connections of a listening ZeroMQ socket.

#include <cstdint>

#include "broker/ingress/handshakes.hpp"
#include "core/zmq/socket.hpp"

namespace backplane::broker {

/// Counts the connections of one socket that closed before their handshake was complete. Lives on the thread
/// that owns the socket; destroy it before the socket.
class ConnectionWatch {
 public:
  ConnectionWatch(mq::Context& context, mq::Socket& socket) : monitor_(context, socket) {}

  /// Call it about once a second: until then, libzmq queues what happened.
  [[nodiscard]] std::uint64_t failed_handshakes(Handshakes::Clock::time_point now) {
    for (auto event = monitor_.next(); event != mq::ConnectionEvent::none; event = monitor_.next()) {
      if (event == mq::ConnectionEvent::accepted) handshakes_.accepted(monitor_.descriptor(), now);
      if (event == mq::ConnectionEvent::connected) handshakes_.completed();
      if (event == mq::ConnectionEvent::disconnected && monitor_.descriptor() >= 0) {
        handshakes_.closed(monitor_.descriptor());
      }
    }
    handshakes_.tick(now);
    return handshakes_.failed();
  }
  /// Lets another thread own the monitor: the next one that calls a method.
  void release() { monitor_.socket().release(); }

 private:
  mq::Monitor monitor_;
  Handshakes handshakes_;
};

}  // namespace backplane::broker
