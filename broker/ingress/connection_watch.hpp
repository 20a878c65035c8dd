#pragma once
// The connections of a listening ZeroMQ socket.

#include <cstdint>

#include <sys/socket.h>

#include "broker/ingress/handshakes.hpp"
#include "core/zmq/socket.hpp"

namespace backplane::broker {

/// Counts the connections of one socket that closed before their handshake was complete, and closes those
/// that use descriptors which the program needs for itself. Lives on the thread that owns the socket; destroy
/// it before the socket.
class ConnectionWatch {
 public:
  /// @param descriptors_max a connection with this descriptor or a higher one is closed
  ConnectionWatch(mq::Context& context, mq::Socket& socket, int descriptors_max)
      : monitor_(context, socket), descriptors_max_(descriptors_max) {}

  /// Call it at least once a second: until then, libzmq queues what happened.
  void turn(Handshakes::Clock::time_point now) {
    for (auto event = monitor_.next(); event != mq::ConnectionEvent::none; event = monitor_.next()) {
      if (event == mq::ConnectionEvent::accepted) accepted(monitor_.descriptor(), now);
      if (event == mq::ConnectionEvent::connected) handshakes_.completed();
      if (event == mq::ConnectionEvent::disconnected && monitor_.descriptor() >= 0) {
        handshakes_.closed(monitor_.descriptor());
      }
    }
    handshakes_.tick(now);
  }
  [[nodiscard]] std::uint64_t failed_handshakes() const noexcept { return handshakes_.failed(); }
  /// Connections that were closed because of descriptors_max.
  [[nodiscard]] std::uint64_t refused() const noexcept { return refused_; }
  /// Lets another thread own the monitor: the next one that calls a method.
  void release() { monitor_.socket().release(); }

 private:
  void accepted(int descriptor, Handshakes::Clock::time_point now) {
    if (descriptor < descriptors_max_) return handshakes_.accepted(descriptor, now);
    ++refused_;
    // libzmq owns the socket, and closes it when it reads the end of the input. If it has done so already,
    // the number may belong to a newer connection, which is one too many as well.
    ::shutdown(descriptor, SHUT_RDWR);
  }

  mq::Monitor monitor_;
  const int descriptors_max_;
  Handshakes handshakes_;
  std::uint64_t refused_{};
};

}  // namespace backplane::broker
