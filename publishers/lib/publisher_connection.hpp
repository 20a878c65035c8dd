#pragma once
// A publisher's connection to one broker: its ingress and its control endpoint.

#include <string>
#include <string_view>

#include <zmq.hpp>

#include "backplane/publisher.hpp"
#include "core/net/endpoint_addresses.hpp"
#include "core/zmq/client_keys.hpp"
#include "core/zmq/socket.hpp"
#include "publishers/lib/unconfirmed_events.hpp"

namespace backplane::publishing {

/// The addresses of a broker's endpoints that the next connection uses. Lives on the thread that connects.
class BrokerAddresses {
 public:
  /// Blocks for up to 0.2 s for each endpoint with a host name, which is looked up.
  explicit BrokerAddresses(const PublisherEndpoints& broker)
      : ingress_(broker.ingress), control_(broker.control) {}
  [[nodiscard]] const std::string& ingress() const { return ingress_.current(); }
  [[nodiscard]] const std::string& control() const { return control_.current(); }
  /// Moves on to the next addresses, because no connection could be established.
  /// @returns whether all have been tried.
  bool next() {
    const bool again = ingress_.next();
    return control_.next() || again;
  }

 private:
  EndpointAddresses ingress_;
  EndpointAddresses control_;
};

/// A connection is used once and then discarded, never repaired. libzmq keeps a peer's queue across its own
/// reconnects, so leftovers in that queue would overtake the events that must be resent. The broker refuses
/// any sequence that is not above the last one, and would then refuse the resent events. Belongs to the first
/// thread that uses it, which need not be the one that created it. Owns its sockets. A connection within the
/// process (inproc) does not notice the broker's end.
class PublisherConnection {
 public:
  /// Starts connecting. Throws std::invalid_argument if libzmq cannot connect to an endpoint, and
  /// zmq::error_t if it cannot create the sockets. `keys`: nullptr for a broker without keys
  PublisherConnection(mq::Context& context, const BrokerAddresses& broker, const mq::SharedKeys& keys);

  /// Whether the connection has ended, or could not be established.
  [[nodiscard]] bool disconnected();
  /// How the ingress handshake failed, if the connection has ended because of that.
  [[nodiscard]] const mq::HandshakeFailure& failure() const noexcept { return failure_; }
  /// Whether the ingress handshake has succeeded, as far as disconnected() has seen.
  [[nodiscard]] bool connected() const noexcept { return connected_; }
  /// Whether the broker's subscription has arrived on this connection.
  [[nodiscard]] bool subscribed();

  /// Sends both frames. @returns false if the connection's send queue is full; data_fd() becomes readable
  /// once there is room (libzmq has no better signal: an XPUB always polls as ZMQ_POLLOUT).
  [[nodiscard]] bool send_event(const EventFrames& event);
  /// @returns false if the queue of requests is full, which happens when the broker has not replied for long.
  [[nodiscard]] bool send_request(std::string_view request);
  /// Receives the next reply (the last frame of its message). @returns false if there is none.
  [[nodiscard]] bool receive_reply(zmq::message_t& reply);

  /// The bytes of events that the broker's kernel has acknowledged; 0 without a TCP connection.
  [[nodiscard]] std::uint64_t acknowledged_bytes() const;

  /// Sets how long closing waits at most for sent messages to reach the network.
  void linger(std::chrono::milliseconds time);

  [[nodiscard]] int data_fd() { return data_.fd(); }
  [[nodiscard]] int control_fd() { return control_.fd(); }
  [[nodiscard]] int monitor_fd() { return monitor_.fd(); }
  /// Whether a socket can be read now. Must be checked before sleeping on the descriptors.
  [[nodiscard]] bool readable();

  /// Hands the connection over to the next thread that uses it.
  void release();

 private:
  mq::Socket data_;
  mq::Monitor monitor_;
  mq::Socket control_;
  bool subscribed_{};
  bool connected_{};
  int descriptor_{-1};  // of the data connection; libzmq's own
  mq::HandshakeFailure failure_{};
};

}  // namespace backplane::publishing
