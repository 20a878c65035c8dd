#pragma once
// What the kernel holds for a server's sockets.

#include <cstddef>
#include <cstdint>

namespace backplane::bench {

struct SocketMemory {
  std::size_t sockets{};         ///< that have anything queued
  std::size_t queued_bytes{};    ///< memory of what they have yet to send, all together
  std::size_t largest_bytes{};   ///< of the one with most
  std::size_t received_bytes{};  ///< memory of what their other ends have not read, all together
};

/// Of the TCP sockets of this machine whose own port, or whose other side's port, is `port`, as the kernel's
/// socket diagnosis has it. All 0 where it has none.
[[nodiscard]] SocketMemory socket_memory(std::uint16_t port);

}  // namespace backplane::bench
