#include "bench/gateway/socket_memory.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "core/process/descriptor.hpp"

namespace backplane::bench {
namespace {

/// The kernel's values of one socket, in the order of SK_MEMINFO_*.
using Figures = std::array<std::uint32_t, SK_MEMINFO_VARS>;

bool ask(int socket) {
  struct {
    nlmsghdr head;
    inet_diag_req_v2 request;
  } message{};
  message.head.nlmsg_len = sizeof message;
  message.head.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  message.head.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  message.request.sdiag_family = AF_INET;
  message.request.sdiag_protocol = IPPROTO_TCP;
  message.request.idiag_ext = 1u << (INET_DIAG_SKMEMINFO - 1);
  message.request.idiag_states = ~0u;
  return ::send(socket, &message, sizeof message, 0) == sizeof message;
}

/// @param data a message from the kernel, after its head
void add(const char* data, std::size_t size, std::uint16_t port, SocketMemory& memory) {
  inet_diag_msg socket{};
  if (size < sizeof socket) return;
  std::memcpy(&socket, data, sizeof socket);
  const bool own = ntohs(socket.id.idiag_sport) == port;
  if (!own && ntohs(socket.id.idiag_dport) != port) return;
  for (std::size_t at = NLMSG_ALIGN(sizeof socket); at + sizeof(rtattr) <= size;) {
    rtattr attribute{};
    std::memcpy(&attribute, data + at, sizeof attribute);
    if (attribute.rta_len < sizeof attribute || attribute.rta_len > size - at) return;
    if (attribute.rta_type == INET_DIAG_SKMEMINFO) {
      Figures figures{};
      std::memcpy(figures.data(), data + at + sizeof attribute,
                  std::min(sizeof figures, attribute.rta_len - sizeof attribute));
      const std::size_t queued = own ? figures[SK_MEMINFO_WMEM_QUEUED] : 0;
      memory.sockets += queued > 0 ? 1 : 0;
      memory.queued_bytes += queued;
      memory.largest_bytes = std::max(memory.largest_bytes, queued);
      memory.received_bytes += own ? 0 : figures[SK_MEMINFO_RMEM_ALLOC];
    }
    at += RTA_ALIGN(attribute.rta_len);
  }
}

}  // namespace

SocketMemory socket_memory(std::uint16_t port) {
  SocketMemory memory;
  const Descriptor diagnosis(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  if (!diagnosis || !ask(diagnosis.get())) return memory;
  std::vector<char> buffer(64u << 10);
  for (;;) {
    const ssize_t got = ::recv(diagnosis.get(), buffer.data(), buffer.size(), 0);
    if (got <= 0) return memory;
    const auto size = static_cast<std::size_t>(got);
    nlmsghdr head{};
    for (std::size_t at = 0; at + sizeof head <= size; at += NLMSG_ALIGN(head.nlmsg_len)) {
      std::memcpy(&head, buffer.data() + at, sizeof head);
      if (head.nlmsg_type == NLMSG_DONE || head.nlmsg_type == NLMSG_ERROR) return memory;
      if (head.nlmsg_len < NLMSG_HDRLEN || head.nlmsg_len > size - at) return memory;
      add(buffer.data() + at + NLMSG_HDRLEN, head.nlmsg_len - NLMSG_HDRLEN, port, memory);
    }
  }
}

}  // namespace backplane::bench
