#pragma once
// A socket address.

#include <array>
#include <cstdint>
#include <string>

#include <netinet/in.h>
#include <sys/socket.h>

#include "core/error/error.hpp"
#include "core/net/host_port.hpp"

namespace backplane::fanout {

/// An IPv4 or IPv6 address with a port. A value.
struct Address {
  sockaddr_storage storage{};
  socklen_t length{};

  [[nodiscard]] const sockaddr* get() const noexcept { return reinterpret_cast<const sockaddr*>(&storage); }
  [[nodiscard]] sockaddr* get() noexcept { return reinterpret_cast<sockaddr*>(&storage); }
  /// `127.0.0.1:1601`, `[::1]:1601`.
  [[nodiscard]] std::string text() const;
  /// The host without the port, for comparison. An IPv4 address and the same one mapped into IPv6 are equal.
  [[nodiscard]] std::array<std::uint8_t, 16> host_key() const noexcept;
  /// The network whose addresses one machine may have: of IPv4 the host, of IPv6 the first 64 bits. For
  /// limits per address.
  [[nodiscard]] std::array<std::uint8_t, 16> network_key() const noexcept;
  [[nodiscard]] bool is_loopback() const noexcept;
};

/// Looks the host up. Blocks as long as the name service does. @returns the first of its addresses.
Result<Address> look_up(const HostPort& place);

}  // namespace backplane::fanout
