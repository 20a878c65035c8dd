#include "cli/connection/tcp_connection.hpp"

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <netdb.h>
#include <sys/socket.h>

#include "core/net/endpoint_addresses.hpp"

namespace backplane::cli {
namespace {

struct FreeAddresses {
  void operator()(addrinfo* list) const noexcept { ::freeaddrinfo(list); }
};
using Addresses = std::unique_ptr<addrinfo, FreeAddresses>;

/// A request to the resolver, which runs on a thread of the C library.
struct Lookup {
  std::string host;
  std::string port;
  addrinfo hints{};
  gaicb request{};

  explicit Lookup(const HostPort& place) : host(place.host), port(std::to_string(place.port)) {
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_NUMERICSERV;
    request.ar_name = host.c_str();
    request.ar_service = port.c_str();
    request.ar_request = &hints;
  }
};

Result<Addresses> resolve_host(const HostPort& place, Waiter::Clock::time_point until) {
  auto lookup = std::make_unique<Lookup>(place);
  // Numeric addresses need no resolver and no thread.
  lookup->hints.ai_flags |= AI_NUMERICHOST;
  addrinfo* found = nullptr;
  int error = ::getaddrinfo(lookup->request.ar_name, lookup->request.ar_service, &lookup->hints, &found);
  if (error == 0) return Addresses(found);

  lookup->hints.ai_flags &= ~AI_NUMERICHOST;
  gaicb* requests[] = {&lookup->request};
  error = ::getaddrinfo_a(GAI_NOWAIT, requests, 1, nullptr);
  if (error == 0) {
    const auto left = std::max(Waiter::Clock::duration{0}, until - Waiter::Clock::now());
    const auto ns = std::chrono::duration_cast<std::chrono::nanoseconds>(left).count();
    const timespec limit{ns / 1'000'000'000, ns % 1'000'000'000};
    (void)::gai_suspend(requests, 1, &limit);
    error = ::gai_error(&lookup->request);
    if (error == EAI_INPROGRESS) {
      // If it cannot be cancelled, its thread may still write to it: then it is never freed, once per
      // connection.
      if (::gai_cancel(&lookup->request) != EAI_CANCELED) (void)lookup.release();
      return fail(ErrorCode::timeout, "the resolver does not reply");
    }
    if (error == 0) return Addresses(lookup->request.ar_result);
  }
  return fail(ErrorCode::not_found,
              fmt::format("cannot resolve \"{}\": {}", place.host, ::gai_strerror(error)));
}

Result<Descriptor> connect_to(const addrinfo& address, Waiter& waiter, Waiter::Clock::time_point until) {
  Descriptor socket(::socket(address.ai_family, address.ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket) return fail(ErrorCode::io, fmt::format("cannot open a socket: {}", std::strerror(errno)));
  int error = ::connect(socket.get(), address.ai_addr, address.ai_addrlen) == 0 ? 0 : errno;
  if (error == EINPROGRESS) {
    bool decided = false;
    while (!decided && !waiter.stopped() && Waiter::Clock::now() < until) {
      decided = waiter.wait_writable(socket.get(), until);
    }
    if (!decided) return fail(ErrorCode::timeout, "connecting timed out");
    socklen_t length = sizeof error;
    ::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &length);
  }
  if (error == ECONNREFUSED) return fail(ErrorCode::unavailable, "nothing listens there");
  if (error != 0) return fail(ErrorCode::unavailable, std::strerror(error));
  return socket;
}

std::string text_of(const addrinfo& address) {
  std::array<char, NI_MAXHOST> text{};
  (void)::getnameinfo(address.ai_addr, address.ai_addrlen, text.data(), text.size(), nullptr, 0,
                      NI_NUMERICHOST);
  return text.data();
}

}  // namespace

Result<TcpConnection> TcpConnection::open(const HostPort& place, Waiter& waiter, Clock::time_point until) {
  std::vector<HostPort> hosts{place};
  if (is_localhost(place.host)) hosts = {{"127.0.0.1", place.port}, {"::1", place.port}};
  std::vector<Addresses> lists;
  std::vector<const addrinfo*> all;
  for (const HostPort& each : hosts) {
    auto addresses = resolve_host(each, until);
    if (!addresses) return tl::unexpected(addresses.error());
    for (const addrinfo* at = addresses->get(); at != nullptr; at = at->ai_next) all.push_back(at);
    lists.push_back(std::move(*addresses));
  }
  std::vector<std::string> tried;
  Error last{ErrorCode::not_found, "the host has no address"};
  for (std::size_t at = 0; at < all.size() && !waiter.stopped(); ++at) {
    // An address that does not react leaves time for the others.
    const auto now = Clock::now();
    const auto share = (until - now) / static_cast<int>(all.size() - at);
    auto socket = connect_to(*all[at], waiter, now + share);
    if (socket) return TcpConnection(std::move(*socket));
    // Of several reasons, the one that may pass.
    if (tried.empty() || socket.error().code == ErrorCode::timeout) last = socket.error();
    tried.push_back(text_of(*all[at]));
  }
  if (tried.size() > 1) last.text += fmt::format(" (tried {})", fmt::join(tried, ", "));
  return tl::unexpected(last);
}

Result<void> TcpConnection::send(std::string_view bytes, Waiter& waiter, Clock::time_point until) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    } else if (errno == EAGAIN) {
      if (waiter.stopped() || Clock::now() >= until) {
        return fail(ErrorCode::timeout, "the peer does not read");
      }
      (void)waiter.wait_writable(socket_.get(), until);
    } else if (errno != EINTR) {
      return fail(ErrorCode::io, fmt::format("the connection was lost: {}", std::strerror(errno)));
    }
  }
  return {};
}

Result<std::size_t> TcpConnection::receive(std::span<char> into) {
  for (;;) {
    const ssize_t bytes = ::recv(socket_.get(), into.data(), into.size(), MSG_DONTWAIT);
    if (bytes > 0) return static_cast<std::size_t>(bytes);
    if (bytes == 0) return fail(ErrorCode::unavailable, "the connection was closed");
    if (errno == EAGAIN) return std::size_t{0};
    if (errno != EINTR) {
      return fail(ErrorCode::unavailable, fmt::format("the connection was lost: {}", std::strerror(errno)));
    }
  }
}

void TcpConnection::wait_input(Waiter& waiter, Clock::time_point until) {
  const std::array fds{fd()};
  (void)waiter.wait(fds, until);
}

}  // namespace backplane::cli
