#pragma once
// A socket's address, as the kernel has it.

#include <array>
#include <cstdint>
#include <string>

#include <netinet/in.h>
#include <sys/socket.h>

#include "core/error/error.hpp"
#include "core/net/host_port.hpp"

namespace backplane::fanout {

/// A socket address.
struct Address {
  sockaddr_storage storage{};
  socklen_t length{};

  [[nodiscard]] const sockaddr* get() const noexcept { return reinterpret_cast<const sockaddr*>(&storage); }
  [[nodiscard]] sockaddr* get() noexcept { return reinterpret_cast<sockaddr*>(&storage); }
  /// `127.0.0.1:1601`, `[::1]:1601`.
  [[nodiscard]] std::string text() const;
  /// The host alone, comparable; an IPv4 address mapped into IPv6 is the IPv4 address.
  [[nodiscard]] std::array<std::uint8_t, 16> host_key() const noexcept;
  [[nodiscard]] bool is_loopback() const noexcept;
};

/// Looks the host up and takes the first of its addresses. Blocks while the name service does.
Result<Address> look_up(const HostPort& place);

}  // namespace backplane::fanout
