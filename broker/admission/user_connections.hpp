#pragma once
// Which user has which connection of an endpoint, to end those of users who may not connect any more.

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include <sys/types.h>
#include <zmq.hpp>

#include "broker/admission/endpoint_rule.hpp"

namespace backplane::broker {

/// The open connections of one listening CURVE socket. libzmq does not say which user a connection belongs
/// to, but its messages do: every message that is received must be passed to saw(), unless knows(). Lives on
/// the thread that owns the socket.
class UserConnections {
 public:
  static constexpr std::size_t noted_max = 256;

  UserConnections(EndpointRule rule, std::shared_ptr<const policy::Policy> policy)
      : rule_(std::move(rule)), policy_(std::move(policy)) {}

  /// A connection has been accepted, perhaps before its handshake.
  void accepted(int descriptor);
  /// A connection has been closed.
  void closed(int descriptor);

  /// Whether the message's connection has been noted already. Takes about 30 ns.
  [[nodiscard]] bool knows(zmq::message_t& message) const noexcept;
  /// Notes whose message it is, and ends the connection if that user may no longer connect. Before it, call
  /// accepted() and closed() for everything that has happened.
  void saw(zmq::message_t& message);
  /// The same for a message of `user` that came by `descriptor`. @returns false if it has been closed since.
  bool saw(int descriptor, std::string_view user);

  /// Applies another policy. Ends the connections of the users of users_to_disconnect(), and those that have
  /// sent no message yet if there are such users: they may belong to one of them. Others are not disturbed.
  /// Call it when all connections that the old policy has admitted are accepted().
  void set_policy(std::shared_ptr<const policy::Policy> policy, const UserNames& to_disconnect);

  /// Connections that were ended.
  [[nodiscard]] std::uint64_t ended() const noexcept { return ended_; }
  [[nodiscard]] const EndpointRule& rule() const noexcept { return rule_; }

 private:
  struct Connection {
    ino_t socket{};    ///< tells it from a later one with the same descriptor
    std::string user;  ///< empty: not known yet
  };
  void end(int descriptor, const Connection& connection);

  EndpointRule rule_;
  std::shared_ptr<const policy::Policy> policy_;
  std::map<int, Connection> open_;
  // The User-Id properties of noted messages: libzmq has one for each connection, at an address of its own.
  // Forgotten when a connection closes, because a later one may get the address.
  std::array<const char*, noted_max> noted_{};
  std::uint64_t ended_{};
};

}  // namespace backplane::broker
