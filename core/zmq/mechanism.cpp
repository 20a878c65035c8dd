#include "core/zmq/mechanism.hpp"

#include <array>
#include <cerrno>
#include <utility>

#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/net/host_port.hpp"
#include "core/process/descriptor.hpp"
#include "core/time/deadline.hpp"

namespace backplane::mq {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t greeting_bytes = 64;
constexpr std::size_t mechanism_at = 12;
constexpr std::size_t mechanism_bytes = 20;
// The signature and the major version. A server that has these sends the rest of its greeting, without
// waiting for ours. Our mechanism must not follow: libzmq closes the connection as soon as it sees another
// mechanism than its own, which may be before its greeting is on its way.
constexpr std::string_view greeting_begin{"\xff\0\0\0\0\0\0\0\0\x7f\x03", 11};

Descriptor open_socket(int family) {
  return Descriptor(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}

// Both start to connect. They return no descriptor if that is impossible.

Descriptor connect_by_path(std::string_view path) {
  sockaddr_un address{};
  if (path.empty() || path.size() >= sizeof address.sun_path) return Descriptor();
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, path.size());
  Descriptor socket = open_socket(AF_UNIX);
  const int connected = ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  return connected == 0 ? std::move(socket) : Descriptor();
}

Descriptor connect_by_address(std::string_view host_port) {
  const auto place = parse_host_port(host_port, "");
  if (!place) return Descriptor();
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;  // never looks a name up, which could block
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (::getaddrinfo(place->host.c_str(), std::to_string(place->port).c_str(), &hints, &found) != 0)
    return Descriptor();
  Descriptor socket = open_socket(found->ai_family);
  const bool begun = ::connect(socket.get(), found->ai_addr, found->ai_addrlen) == 0 || errno == EINPROGRESS;
  ::freeaddrinfo(found);
  return begun ? std::move(socket) : Descriptor();
}

Descriptor begin_connection(std::string_view endpoint) {
  constexpr std::string_view ipc = "ipc://";
  constexpr std::string_view tcp = "tcp://";
  if (endpoint.starts_with(ipc)) return connect_by_path(endpoint.substr(ipc.size()));
  if (endpoint.starts_with(tcp)) return connect_by_address(endpoint.substr(tcp.size()));
  return Descriptor();
}

/// Waits until the descriptor is ready. @returns false at the deadline.
bool wait(int fd, short events, Clock::time_point until) {
  pollfd waiting{fd, events, 0};
  for (;;) {
    const int left = poll_timeout(until, Clock::now());
    const int ready = ::poll(&waiting, 1, left);
    if (ready > 0) return true;
    if (ready == 0 || errno != EINTR) return false;
  }
}

}  // namespace

Mechanism mechanism_in(std::string_view greeting) {
  if (greeting.size() < greeting_bytes || greeting[0] != '\xff' || greeting[9] != '\x7f')
    return Mechanism::unknown;
  std::string_view name = greeting.substr(mechanism_at, mechanism_bytes);
  name = name.substr(0, name.find('\0'));
  return name == "CURVE" ? Mechanism::curve : name == "NULL" ? Mechanism::null : Mechanism::unknown;
}

Mechanism server_mechanism(const std::string& endpoint, std::chrono::milliseconds limit) {
  const Clock::time_point until = Clock::now() + limit;
  const Descriptor socket = begin_connection(endpoint);
  if (!socket || !wait(socket.get(), POLLOUT, until)) return Mechanism::unknown;
  // The send buffer of a new connection is empty.
  if (::send(socket.get(), greeting_begin.data(), greeting_begin.size(), MSG_NOSIGNAL) < 0)
    return Mechanism::unknown;
  std::array<char, greeting_bytes> greeting{};
  std::size_t received = 0;
  while (received < greeting.size()) {
    if (!wait(socket.get(), POLLIN, until)) return Mechanism::unknown;
    const ssize_t more = ::recv(socket.get(), greeting.data() + received, greeting.size() - received, 0);
    if (more < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (more <= 0) return Mechanism::unknown;
    received += static_cast<std::size_t>(more);
  }
  return mechanism_in({greeting.data(), greeting.size()});
}

}  // namespace backplane::mq
