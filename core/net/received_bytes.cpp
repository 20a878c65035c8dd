#include "core/net/received_bytes.hpp"

#include <cstddef>

#include <linux/tcp.h>  // <netinet/tcp.h> ends before tcpi_bytes_received
#include <netinet/in.h>
#include <sys/socket.h>

namespace backplane {

std::optional<std::uint64_t> received_bytes(int descriptor) {
  tcp_info info{};
  socklen_t size = sizeof info;
  if (descriptor < 0 || getsockopt(descriptor, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return std::nullopt;
  if (size < offsetof(tcp_info, tcpi_bytes_received) + sizeof info.tcpi_bytes_received) return std::nullopt;
  return info.tcpi_bytes_received;
}

}  // namespace backplane
