#include "fanout/listeners.hpp"

#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "core/net/endpoint_addresses.hpp"

namespace backplane::fanout {
namespace {

// Per listening socket and turn: a flood of connections cannot starve the clients that are connected.
constexpr int accepts_per_turn = 64;
// Out of descriptors, a listening socket stays readable. It is ignored for a while, to avoid a busy loop.
constexpr std::chrono::milliseconds accept_pause{100};

void set_option(int fd, int level, int option, int value) noexcept {
  // Errors are ignored: clients are served without the option, too.
  (void)::setsockopt(fd, level, option, &value, sizeof value);
}

}  // namespace

Listeners::Listeners(ListenersOptions options, Admit admit, Refuse refuse)
    : options_(options),
      admit_(std::move(admit)),
      epoll_(::epoll_create1(EPOLL_CLOEXEC)),
      refused_(epoll_.get(), options.refused_max, std::move(refuse)) {
  if (!epoll_) throw std::system_error(errno, std::system_category(), "epoll_create1");
}

Listeners::~Listeners() = default;

Result<Listener> Listeners::listen(std::string_view address) {
  const auto parsed = parse_host_port(address, "listen");
  if (!parsed) return tl::unexpected(parsed.error());
  if (is_localhost(parsed->host)) return listen_localhost(parsed->port, address);
  auto resolved = look_up(*parsed);
  if (!resolved) return tl::unexpected(resolved.error());
  auto listener = listen_on(*resolved);
  if (listener) return listener;
  return fail(listener.error().code, fmt::format("cannot listen on {}: {}", address, listener.error().text));
}

// Both loopback addresses have the same port. Without IPv6, there is only one of them.
Result<Listener> Listeners::listen_localhost(std::uint16_t port, std::string_view address) {
  constexpr int attempts_max = 20;  // a port that is free on one address may be taken on the other
  for (int attempt = 0;; ++attempt) {
    auto first = look_up({"127.0.0.1", port}).and_then([&](const Address& at) { return listen_on(at); });
    if (!first) {
      return fail(first.error().code, fmt::format("cannot listen on {}: {}", address, first.error().text));
    }
    const std::uint16_t chosen = parse_host_port(first->address, "listen").value_or(HostPort{}).port;
    auto second = look_up({"::1", chosen}).and_then([&](const Address& at) { return listen_on(at); });
    if (second) listener_of_.back() = first->index;
    if (second || second.error().code == ErrorCode::not_found) return first;
    sockets_.pop_back();
    listener_of_.pop_back();
    if (port != 0 || second.error().code != ErrorCode::unavailable || attempt == attempts_max) {
      return fail(second.error().code,
                  fmt::format("cannot listen on [::1]:{}: {}", chosen, second.error().text));
    }
  }
}

/// @returns an error that does not name the address: unavailable if the port is taken, not_found if this
/// machine
///          has no such address.
Result<Listener> Listeners::listen_on(const Address& at) {
  const auto refused = [] {
    const int error = errno;
    const bool no_address = error == EADDRNOTAVAIL || error == EAFNOSUPPORT || error == EPROTONOSUPPORT;
    return fail(error == EADDRINUSE ? ErrorCode::unavailable
                : no_address        ? ErrorCode::not_found
                                    : ErrorCode::io,
                std::strerror(error));
  };
  Descriptor socket(::socket(at.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket) return refused();
  set_option(socket.get(), SOL_SOCKET, SO_REUSEADDR, 1);
  if (::bind(socket.get(), at.get(), at.length) != 0) return refused();
  if (::listen(socket.get(), SOMAXCONN) != 0) return refused();
  Address bound;
  bound.length = sizeof bound.storage;
  if (::getsockname(socket.get(), bound.get(), &bound.length) != 0) return refused();
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = sockets_.size();
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, socket.get(), &event) != 0) return refused();
  sockets_.push_back(std::move(socket));
  listener_of_.push_back(listener_of_.empty() ? 0 : listener_of_.back() + 1);
  return Listener{listener_of_.back(), bound.text(), bound.is_loopback()};
}

void Listeners::stop() noexcept {
  for (Descriptor& socket : sockets_) socket.reset();
  refused_.close_all();
  listen_again_ = Clock::time_point::max();
}

void Listeners::pause(bool paused) noexcept {
  for (std::size_t i = 0; i < sockets_.size(); ++i) {
    epoll_event event{};
    event.events = paused ? 0u : std::uint32_t{EPOLLIN};
    event.data.u64 = i;
    if (sockets_[i]) (void)::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, sockets_[i].get(), &event);
  }
}

void Listeners::accept(Clock::time_point now) {
  refused_.turn(now);
  if (now >= listen_again_) {
    listen_again_ = Clock::time_point::max();
    pause(false);
  }
  for (std::size_t socket = 0; socket < sockets_.size(); ++socket) {
    for (int i = 0; i < accepts_per_turn && listen_again_ == Clock::time_point::max() && sockets_[socket];
         ++i) {
      if (!accept_one(socket, now)) break;
    }
  }
}

/// @returns whether another connection may wait.
bool Listeners::accept_one(std::size_t from, Clock::time_point now) {
  Address peer;
  peer.length = sizeof peer.storage;
  Descriptor socket(::accept4(sockets_[from].get(), peer.get(), &peer.length, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!socket) {
    if (errno == EAGAIN || errno == EWOULDBLOCK) return false;
    if (errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM) {
      return true;  // only that connection failed
    }
    const int error = errno;
    ++counters_.accept_errors;
    if (accept_log_.allow(now)) {
      log::warning("cannot accept connections: {} ({} open)", std::strerror(error), hosts_.size());
    }
    pause(true);
    listen_again_ = now + accept_pause;
    return false;
  }
  if (const auto why = limit_reached(socket, peer)) {
    refuse(std::move(socket), *why, listener_of_[from], now);
    return true;
  }
  const HostKey host = peer.network_key();
  set_option(socket.get(), IPPROTO_TCP, TCP_NODELAY, 1);
  hosts_.emplace(admit_({std::move(socket), peer, listener_of_[from]}), host);
  ++clients_of_host_[host];
  ++counters_.accepted;
  counters_.connections = hosts_.size();
  return true;
}

std::optional<Refusal> Listeners::limit_reached(const Descriptor& socket, const Address& peer) const {
  if (hosts_.size() >= options_.connections_max) return Refusal::connection_limit;
  const auto of_host = clients_of_host_.find(peer.network_key());
  const bool exempt = options_.loopback_is_exempt && peer.is_loopback();
  if (!exempt && of_host != clients_of_host_.end() &&
      of_host->second >= options_.connections_per_address_max) {
    return Refusal::address_limit;
  }
  if (socket.get() >= options_.descriptors_max) return Refusal::descriptor_limit;
  return std::nullopt;
}

void Listeners::refuse(Descriptor socket, Refusal why, std::size_t listener, Clock::time_point now) {
  switch (why) {
    case Refusal::connection_limit:
      ++counters_.refused_connection_limit;
      break;
    case Refusal::address_limit:
      ++counters_.refused_address_limit;
      break;
    case Refusal::descriptor_limit:
      ++counters_.refused_descriptor_limit;
      if (descriptor_log_.allow(now)) {
        log::warning("limit of open files reached: refusing connections ({} open); raise it with ulimit -n",
                     hosts_.size());
      }
      break;
  }
  refused_.add(std::move(socket), why, listener, now);
}

void Listeners::on_client_closed(ClientId client) noexcept {
  const auto found = hosts_.find(client);
  if (found == hosts_.end()) return;
  const auto of_host = clients_of_host_.find(found->second);
  if (--of_host->second == 0) clients_of_host_.erase(of_host);
  hosts_.erase(found);
  counters_.connections = hosts_.size();
}

}  // namespace backplane::fanout
