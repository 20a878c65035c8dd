#pragma once
// The one outgoing connection of a socket.

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "core/net/endpoint_addresses.hpp"
#include "core/zmq/client_keys.hpp"
#include "core/zmq/key_check.hpp"
#include "core/zmq/socket.hpp"

namespace backplane::follower {

/// Connects a socket, reports when the connection comes and goes, and connects again if libzmq has stopped
/// trying: libzmq reconnects by itself after a lost connection, but never after a protocol error (a peer that
/// does not speak ZeroMQ, a message above the limit). Tries all addresses of a host, of which libzmq knows
/// one. A connection within the process (inproc) is up from the start, and does not notice the broker's end.
/// Lives on the socket's thread; the socket outlives it.
class Connection {
 public:
  using Clock = std::chrono::steady_clock;
  enum class Change { none, up, down };

  /// Blocks for up to 0.2 s while a host name is looked up. Throws std::invalid_argument for an endpoint that
  /// cannot be used. @param keys  with which the socket connects, if it does
  Connection(mq::Context& context, mq::Socket& socket, const std::string& endpoint,
             const mq::SharedKeys& keys);

  /// @returns the next change, in order; `none` if there is no more now. `down` can be reported several times
  ///          in a row, and for a connection that never was up. Blocks for up to 0.2 s, once a second,
  ///          to find out why the broker ends handshakes.
  [[nodiscard]] Change next();
  /// Connects again if there has been neither a connection nor an attempt for some seconds. Call it once per
  /// turn, after next() has returned `none`.
  void reconnect_if_stalled(Clock::time_point now);
  [[nodiscard]] Clock::time_point next_deadline() const noexcept;
  /// Replaces a connection that is up although nothing arrives. next() reports it as down. What has been
  /// received and is unread is discarded.
  void replace();
  /// Leaves the endpoint for another one: next() reports the connection as down, then the new one. What has
  /// been received and is unread is discarded. Neither is inproc; both or none have keys. Blocks as the
  /// constructor does.
  void move_to(const std::string& endpoint, const mq::SharedKeys& keys);

  [[nodiscard]] bool up() const noexcept { return up_; }
  /// What is wrong with the keys since the connection was up.
  [[nodiscard]] const mq::KeyCheck& keys() const noexcept { return keys_; }
  /// The bytes received on this connection, as far as the kernel knows; none without a TCP connection.
  /// Between two messages, it shows whether the next one is arriving.
  [[nodiscard]] std::optional<std::uint64_t> received_bytes() const;
  [[nodiscard]] bool pending() { return replaced_ || (in_process_ && !up_) || monitor_.socket().readable(); }
  [[nodiscard]] int fd() { return monitor_.fd(); }
  void release() { monitor_.socket().release(); }

 private:
  [[nodiscard]] Clock::time_point change_address_at() const noexcept;
  void change_address(Clock::time_point now);
  void connect_again();

  mq::Socket& socket_;
  mq::Monitor monitor_;
  mq::KeyCheck keys_;
  EndpointAddresses addresses_;
  std::string endpoint_;  // the address that the socket is connected to
  std::string left_;      // the address before move_to(), of which reports may come late
  bool in_process_;
  bool up_{};
  bool replaced_{};                                // and not yet reported
  int descriptor_{-1};                             // of the last connection that was opened; libzmq's own
  bool refused_{};                                 // by this address
  std::optional<Clock::time_point> trying_since_;  // this address
  Clock::duration pause_;                          // before the addresses are tried again
  Clock::time_point paused_until_{Clock::time_point::min()};
  std::optional<Clock::time_point> idle_since_;  // no connection, and no report of an attempt
};

}  // namespace backplane::follower
