#pragma once
// The socket types of ZeroMQ.

#include <cstdint>
#include <optional>
#include <string_view>

namespace backplane::zmtp {

/// In the order of their numbers in ZMTP 2.0.
enum class SocketType : std::uint8_t { pair, pub, sub, req, rep, dealer, router, pull, push, xpub, xsub };

/// Its name in ZMTP 3: "PAIR", "PUB", …
[[nodiscard]] std::string_view name(SocketType type) noexcept;
[[nodiscard]] std::optional<SocketType> parse_socket_type(std::string_view name) noexcept;
/// By its number in ZMTP 2.0.
[[nodiscard]] std::optional<SocketType> socket_type_of(std::uint8_t number) noexcept;

/// The type that this side announces to a peer of type `peer`: one that the peer's type may talk to.
[[nodiscard]] SocketType counterpart(SocketType peer) noexcept;

/// Whether its messages to its peers are subscriptions.
[[nodiscard]] constexpr bool subscribes(SocketType type) noexcept {
  return type == SocketType::sub || type == SocketType::xsub;
}
/// Whether it sends only what its peer has subscribed to.
[[nodiscard]] constexpr bool publishes(SocketType type) noexcept {
  return type == SocketType::pub || type == SocketType::xpub;
}

}  // namespace backplane::zmtp
