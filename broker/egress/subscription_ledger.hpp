#pragma once
// What each subscriber of an egress endpoint is subscribed to.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include <zmq.hpp>

#include "broker/ingress/connection_observer.hpp"
#include "broker/ingress/peer.hpp"

namespace backplane::broker {

/// The subscriptions of each connection of an egress socket, to bound the memory that libzmq needs for them.
/// Each subscription and unsubscription of a connection must be passed to it, duplicates included. Lives on
/// the thread that owns the socket.
class SubscriptionLedger final : public ConnectionObserver {
 public:
  /// What a subscription occupies, at most: libzmq's tree has a node for each byte of a prefix that no other
  /// prefix shares.
  [[nodiscard]] static constexpr std::size_t cost(std::size_t prefix_bytes) noexcept {
    return 192 + 32 * prefix_bytes;
  }

  /// The connection by which `message` came has subscribed to `prefix`. Messages of no connection (inproc,
  /// and those that libzmq makes when a connection closes) change nothing. @returns false if it was
  /// subscribed already.
  bool began(zmq::message_t& message, std::string_view prefix);
  /// It has unsubscribed. @returns false if it was not subscribed.
  bool ended(zmq::message_t& message, std::string_view prefix);
  /// A connection has closed.
  void closed(int descriptor) override;

  /// What each connection may send per second besides new subscriptions: unsubscriptions, duplicates, and
  /// messages that are no subscriptions.
  static constexpr std::uint32_t churn_max = 100'000;
  /// The connection by which `message` came has sent one of these. @returns true if that was one too many:
  /// the connection is closed.
  [[nodiscard]] bool churned(zmq::message_t& message);
  /// A second has passed.
  void begin_second() noexcept;

  /// The sum of cost() of all subscriptions.
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
  /// cost() of the subscriptions of the connection with most of them.
  [[nodiscard]] std::size_t largest() const noexcept;
  /// Closes that connection. Its subscriptions no longer count. Does nothing if there is none.
  void end_largest();

 private:
  struct Connection {
    Peer peer{};
    PeerSocket socket;
    std::unordered_set<std::uint64_t> prefixes;  ///< their hashes
    std::size_t bytes{};
    std::uint32_t churn{};  ///< in this second
    bool ending{};          ///< it is being closed
  };
  using Connections = std::unordered_map<int, Connection>;

  [[nodiscard]] std::optional<Connections::iterator> find(zmq::message_t& message);
  void forget(Connection& connection) noexcept;
  void end(Connection& connection);
  [[nodiscard]] Connections::iterator find_largest() noexcept;

  Connections connections_;  // by descriptor
  std::size_t bytes_{};
};

}  // namespace backplane::broker
