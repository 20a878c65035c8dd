#include "core/net/transferred_bytes.hpp"

#include <cstddef>

#include <linux/tcp.h>  // <netinet/tcp.h> ends before tcpi_bytes_received
#include <netinet/in.h>
#include <sys/socket.h>

namespace backplane {
namespace {

// The last field that is read. An older kernel gives less.
constexpr std::size_t needed =
    offsetof(tcp_info, tcpi_bytes_received) + sizeof(tcp_info::tcpi_bytes_received);
static_assert(offsetof(tcp_info, tcpi_bytes_acked) < needed);

std::optional<tcp_info> info_of(int descriptor) {
  tcp_info info{};
  socklen_t size = sizeof info;
  if (descriptor < 0 || getsockopt(descriptor, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return std::nullopt;
  if (size < needed) return std::nullopt;
  return info;
}

}  // namespace

std::optional<std::uint64_t> received_bytes(int descriptor) {
  const auto info = info_of(descriptor);
  return info ? std::optional<std::uint64_t>(info->tcpi_bytes_received) : std::nullopt;
}

std::optional<std::uint64_t> acknowledged_bytes(int descriptor) {
  const auto info = info_of(descriptor);
  return info ? std::optional<std::uint64_t>(info->tcpi_bytes_acked) : std::nullopt;
}

}  // namespace backplane
