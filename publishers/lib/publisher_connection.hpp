#pragma once
// One connection to one broker: its ingress and its control.

#include <string_view>

#include <zmq.hpp>

#include "backplane/publisher.hpp"
#include "core/zmq/socket.hpp"
#include "publishers/lib/unconfirmed_events.hpp"

namespace backplane::publishing {

/// A connection is used once and then thrown away, never repaired: libzmq keeps a peer's queue across its own
/// reconnect, and those leftovers would overtake what has to be sent again. The broker, which refuses what is
/// not above the last sequence, would then refuse the rest. Belongs to the thread that uses it first, which
/// need not be the one that makes it; owns its sockets.
class PublisherConnection {
 public:
  /// Starts connecting. Throws std::invalid_argument for an endpoint that cannot be connected to,
  /// zmq::error_t where libzmq cannot make the sockets.
  PublisherConnection(mq::Context& context, const PublisherEndpoints& broker);

  /// Whether the connection has ended, or was never made.
  [[nodiscard]] bool disconnected();
  /// Whether the broker's subscription has come since the connection was made.
  [[nodiscard]] bool subscribed();

  /// Whether both frames are on their way; false: the connection's queue is full. Then `data_fd` becomes
  /// readable once there is room (libzmq has no better sign: a ZMQ_POLLOUT of an XPUB is always there).
  [[nodiscard]] bool send_event(const EventFrames& event);
  /// @returns false where the queue of requests is full, as it is when nobody answers for long.
  [[nodiscard]] bool send_request(std::string_view request);
  /// The next reply: the last frame of a message. @returns whether there was one.
  [[nodiscard]] bool receive_reply(zmq::message_t& reply);

  /// Closing waits for what has been sent to reach the network, at most so long.
  void linger(std::chrono::milliseconds time);

  [[nodiscard]] int data_fd() { return data_.fd(); }
  [[nodiscard]] int control_fd() { return control_.fd(); }
  [[nodiscard]] int monitor_fd() { return monitor_.fd(); }
  /// Whether a socket can be read at once. To be asked before sleeping on the descriptors.
  [[nodiscard]] bool readable();

  /// Gives the connection to the next thread that uses it.
  void release();

 private:
  mq::Socket data_;
  mq::Monitor monitor_;
  mq::Socket control_;
  bool subscribed_{};
};

}  // namespace backplane::publishing
