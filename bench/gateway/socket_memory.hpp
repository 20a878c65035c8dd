#pragma once
// The kernel's memory for a server's sockets.

#include <cstddef>
#include <cstdint>

namespace backplane::bench {

struct SocketMemory {
  std::size_t sockets{};         ///< with queued bytes
  std::size_t queued_bytes{};    ///< memory of unsent bytes, in all
  std::size_t largest_bytes{};   ///< of the socket with the most
  std::size_t received_bytes{};  ///< memory of bytes that their peers have not read, in all
};

/// The memory of this machine's TCP sockets whose local or remote port is `port`, from the kernel's socket
/// diagnosis. All 0 if it reports none.
[[nodiscard]] SocketMemory socket_memory(std::uint16_t port);

}  // namespace backplane::bench
