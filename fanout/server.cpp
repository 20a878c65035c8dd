#include "fanout/server.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <deque>
#include <map>
#include <system_error>
#include <unordered_map>
#include <utility>

#include <fmt/format.h>
#include <sys/epoll.h>

#include "core/log/log.hpp"
#include "fanout/address.hpp"
#include "fanout/descriptor.hpp"
#include "fanout/socket_stream.hpp"

namespace backplane::fanout {
namespace {

using Clock = Server::Clock;

// So many a turn, so that a flood of connects cannot starve those who are connected.
constexpr int accepts_a_turn = 64;
// Out of descriptors, a listener stays readable: it is left alone for a while instead of spun on.
constexpr std::chrono::milliseconds accept_pause{100};

/// Whatever epoll watches.
class Source {
 public:
  virtual ~Source() = default;
  virtual void on_ready(std::uint32_t events) = 0;
};

void set_option(int fd, int level, int option, int value) noexcept {
  // Each only tunes: a kernel that refuses one serves the session as well.
  (void)::setsockopt(fd, level, option, &value, sizeof value);
}

}  // namespace

class Server::Impl {
 public:
  Impl(ServerOptions options, Acceptor& acceptor);
  ~Impl();

  Result<std::string> listen(std::string_view place);
  void stop_listening() noexcept { listeners_.clear(); }
  void watch(int fd, std::function<void()> on_ready);
  void unwatch(int fd) noexcept { watches_.erase(fd); }
  void wait(Clock::time_point until);
  void flush();
  [[nodiscard]] std::size_t unsent_sessions() const;
  void say_goodbye(std::string_view reason);

  ServerCounters counters_;
  SessionShare share_;

 private:
  class Listener;
  class Watch;
  struct Peer;
  using HostKey = std::array<std::uint8_t, 16>;
  struct Deadline {
    Clock::time_point at;
    std::uint64_t peer;
  };

  [[nodiscard]] bool try_control(int operation, int fd, std::uint32_t events, Source* source) noexcept;
  /// The same; throws std::system_error.
  void control(int operation, int fd, std::uint32_t events, Source* source);
  /// @returns whether another may wait.
  bool accept_one(int listener);
  void refuse(Descriptor socket, Refusal why);
  void update(Peer& peer);
  void let_go(std::uint64_t id);
  void expire(Clock::time_point now);
  [[nodiscard]] Clock::time_point next_deadline() const;

  ServerOptions options_;
  Acceptor& acceptor_;
  Descriptor epoll_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  std::unordered_map<int, std::unique_ptr<Watch>> watches_;
  std::unordered_map<std::uint64_t, std::unique_ptr<Peer>> peers_;
  std::map<HostKey, std::size_t> peers_of_host_;
  std::uint64_t last_peer_{};
  // Each has one constant time-out, so the order of arrival is the order of the deadlines.
  std::deque<Deadline> silent_;
  std::deque<Deadline> lingering_;
  Clock::time_point listen_again_{Clock::time_point::max()};
  log::RateLimit accept_log_{std::chrono::seconds{10}};
};

class Server::Impl::Listener final : public Source {
 public:
  Listener(Impl& server, Descriptor socket) : server_(server), socket_(std::move(socket)) {
    server_.control(EPOLL_CTL_ADD, socket_.get(), EPOLLIN, this);
  }
  void on_ready(std::uint32_t) override {
    for (int i = 0; i < accepts_a_turn; ++i) {
      if (!server_.accept_one(socket_.get())) return;
    }
  }
  void pause(bool paused) { server_.control(EPOLL_CTL_MOD, socket_.get(), paused ? 0u : EPOLLIN, this); }

 private:
  Impl& server_;
  Descriptor socket_;
};

class Server::Impl::Watch final : public Source {
 public:
  Watch(Impl& server, int fd, std::function<void()> on_ready)
      : server_(server), fd_(fd), on_ready_(std::move(on_ready)) {
    server_.control(EPOLL_CTL_ADD, fd, EPOLLIN, this);
  }
  ~Watch() override { (void)::epoll_ctl(server_.epoll_.get(), EPOLL_CTL_DEL, fd_, nullptr); }
  void on_ready(std::uint32_t) override { on_ready_(); }

 private:
  Impl& server_;
  int fd_;
  std::function<void()> on_ready_;
};

struct Server::Impl::Peer final : public Source {
  Peer(Impl& owner, std::uint64_t number, Descriptor socket, const Address& address)
      : server(owner),
        host(address.host_key()),
        stream(std::move(socket)),
        session(number, stream, owner.share_) {}

  void on_ready(std::uint32_t events) override {
    // After a reset nothing can be written. A mere end of input (EPOLLRDHUP) is not leaving.
    if ((events & (EPOLLERR | EPOLLHUP)) != 0) session.abort();
    if ((events & EPOLLIN) != 0) session.on_readable();
    if ((events & EPOLLOUT) != 0) session.on_writable();
    server.update(*this);
  }

  Impl& server;
  HostKey host;
  std::uint32_t interest{EPOLLIN};
  bool lingering{};
  SocketStream stream;
  Session session;
};

Server::Impl::Impl(ServerOptions options, Acceptor& acceptor)
    : options_(options), acceptor_(acceptor), epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
  if (!epoll_) throw std::system_error(errno, std::system_category(), "epoll_create1");
  share_.limits = options_.session;
}

Server::Impl::~Impl() = default;

bool Server::Impl::try_control(int operation, int fd, std::uint32_t events, Source* source) noexcept {
  epoll_event event{};
  event.events = events;
  event.data.ptr = source;
  return ::epoll_ctl(epoll_.get(), operation, fd, &event) == 0;
}

void Server::Impl::control(int operation, int fd, std::uint32_t events, Source* source) {
  if (!try_control(operation, fd, events, source)) {
    throw std::system_error(errno, std::system_category(), "epoll_ctl");
  }
}

Result<std::string> Server::Impl::listen(std::string_view place) {
  const auto parsed = parse_host_port(place, "listen");
  if (!parsed) return tl::unexpected(parsed.error());
  auto address = look_up(*parsed);
  if (!address) return tl::unexpected(address.error());
  const auto refused = [&] {
    const int error = errno;
    return fail(error == EADDRINUSE ? ErrorCode::unavailable : ErrorCode::io,
                fmt::format("cannot listen on {}: {}", place, std::strerror(error)));
  };
  Descriptor socket(::socket(address->storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket) return refused();
  set_option(socket.get(), SOL_SOCKET, SO_REUSEADDR, 1);
  if (::bind(socket.get(), address->get(), address->length) != 0) return refused();
  if (::listen(socket.get(), SOMAXCONN) != 0) return refused();
  Address bound;
  bound.length = sizeof bound.storage;
  if (::getsockname(socket.get(), bound.get(), &bound.length) != 0) return refused();
  listeners_.push_back(std::make_unique<Listener>(*this, std::move(socket)));
  return bound.text();
}

void Server::Impl::watch(int fd, std::function<void()> on_ready) {
  watches_.erase(fd);
  watches_.emplace(fd, std::make_unique<Watch>(*this, fd, std::move(on_ready)));
}

bool Server::Impl::accept_one(int listener) {
  Address address;
  address.length = sizeof address.storage;
  Descriptor socket(::accept4(listener, address.get(), &address.length, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!socket) {
    if (errno == EAGAIN || errno == EWOULDBLOCK) return false;
    if (errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM)
      return true;  // that one's trouble
    ++counters_.accept_errors;
    const auto now = Clock::now();
    if (accept_log_.allow(now)) {
      log::warning("cannot accept connections: {} ({} open)", std::strerror(errno), peers_.size());
    }
    for (const auto& each : listeners_) each->pause(true);
    listen_again_ = now + accept_pause;
    return false;
  }
  const HostKey host = address.host_key();
  if (peers_.size() >= options_.connections_max) {
    refuse(std::move(socket), Refusal::connections_in_all);
    return true;
  }
  if (!address.is_loopback()) {
    const auto of_host = peers_of_host_.find(host);
    if (of_host != peers_of_host_.end() && of_host->second >= options_.connections_per_address_max) {
      refuse(std::move(socket), Refusal::connections_of_address);
      return true;
    }
  }
  const std::uint64_t id = ++last_peer_;
  auto peer = std::make_unique<Peer>(*this, id, std::move(socket), address);
  peer->stream.tune(options_.unsent_bytes_max);
  if (!try_control(EPOLL_CTL_ADD, peer->stream.fd(), peer->interest, peer.get())) {
    ++counters_
          .accept_errors;  // out of memory or of epoll's own bound: this client is closed, the rest go on
    return true;
  }
  peer->session.set_connection(acceptor_.open(peer->session));
  peers_.emplace(id, std::move(peer));
  ++peers_of_host_[host];
  ++counters_.accepted;
  counters_.connections = peers_.size();
  if (options_.first_byte_timeout.count() > 0)
    silent_.push_back({Clock::now() + options_.first_byte_timeout, id});
  return true;
}

void Server::Impl::refuse(Descriptor socket, Refusal why) {
  ++counters_.refused;
  const std::string_view line = acceptor_.refusal(why);
  (void)::send(socket.get(), line.data(), line.size(), MSG_NOSIGNAL | MSG_DONTWAIT);  // best effort
}

void Server::Impl::update(Peer& peer) {
  if (peer.session.over()) return;  // flush() lets go of it
  const std::uint32_t interest = (peer.session.wants_input() ? std::uint32_t{EPOLLIN} : 0u) |
                                 (peer.session.wants_output() ? std::uint32_t{EPOLLOUT} : 0u);
  if (interest != peer.interest) {
    control(EPOLL_CTL_MOD, peer.stream.fd(), interest, &peer);
    peer.interest = interest;
  }
  if (peer.session.ending() && !peer.lingering) {
    peer.lingering = true;
    lingering_.push_back({Clock::now() + options_.linger, peer.session.id()});
  }
}

Clock::time_point Server::Impl::next_deadline() const {
  Clock::time_point next = listen_again_;
  if (!silent_.empty()) next = std::min(next, silent_.front().at);
  if (!lingering_.empty()) next = std::min(next, lingering_.front().at);
  return next;
}

void Server::Impl::expire(Clock::time_point now) {
  if (now >= listen_again_) {
    listen_again_ = Clock::time_point::max();
    for (const auto& each : listeners_) each->pause(false);
  }
  for (; !silent_.empty() && silent_.front().at <= now; silent_.pop_front()) {
    const auto peer = peers_.find(silent_.front().peer);
    if (peer == peers_.end() || peer->second->session.has_received()) continue;
    ++counters_.silent;
    peer->second->session.end(acceptor_.silence());
  }
  for (; !lingering_.empty() && lingering_.front().at <= now; lingering_.pop_front()) {
    const auto peer = peers_.find(lingering_.front().peer);
    if (peer != peers_.end()) peer->second->session.abort();
  }
}

void Server::Impl::wait(Clock::time_point until) {
  const auto now = Clock::now();
  until = std::min(until, next_deadline());
  int timeout_ms = 0;
  if (until > now && share_.dirty.empty()) {
    // Rounded up, so that a deadline is past when epoll says that it is.
    const auto wait = std::chrono::ceil<std::chrono::milliseconds>(until - now);
    timeout_ms = static_cast<int>(std::min<std::chrono::milliseconds::rep>(wait.count(), 60'000));
  }
  std::array<epoll_event, 256> events;
  const int ready = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), timeout_ms);
  if (ready < 0 && errno != EINTR) throw std::system_error(errno, std::system_category(), "epoll_wait");
  for (int i = 0; i < ready; ++i) {
    const epoll_event& event = events[static_cast<std::size_t>(i)];
    static_cast<Source*>(event.data.ptr)->on_ready(event.events);
  }
  expire(Clock::now());
}

void Server::Impl::let_go(std::uint64_t id) {
  const auto peer = peers_.find(id);
  const auto of_host = peers_of_host_.find(peer->second->host);
  if (--of_host->second == 0) peers_of_host_.erase(of_host);
  peers_.erase(peer);
  counters_.connections = peers_.size();
}

void Server::Impl::flush() {
  // A connection may queue for another session while this one is flushed: that is the next round's.
  // The rounds are bounded, as the sockets want to be read too.
  for (int round = 0; round < 4 && !share_.dirty.empty(); ++round) {
    for (Session* const session : std::exchange(share_.dirty, {})) {
      session->flush();
      const std::uint64_t id = session->id();
      if (session->over()) {
        let_go(id);
      } else {
        update(*peers_.at(id));
      }
    }
  }
}

void Server::Impl::say_goodbye(std::string_view reason) {
  for (const auto& [id, peer] : peers_) {
    if (peer->session.open()) peer->session.connection().say_goodbye(reason);
  }
}

std::size_t Server::Impl::unsent_sessions() const {
  return static_cast<std::size_t>(std::count_if(
      peers_.begin(), peers_.end(), [](const auto& peer) { return !peer.second->session.outbox().empty(); }));
}

Server::Server(ServerOptions options, Acceptor& acceptor)
    : impl_(std::make_unique<Impl>(options, acceptor)) {}
Server::~Server() = default;
Result<std::string> Server::listen(std::string_view place) {
  return impl_->listen(place);
}
bool Server::is_loopback(std::string_view address) {
  const auto place = parse_host_port(address, "listen");
  const auto found = place ? look_up(*place) : tl::unexpected(place.error());
  return found && found->is_loopback();
}
void Server::say_goodbye(std::string_view reason) {
  impl_->say_goodbye(reason);
}
void Server::stop_listening() noexcept {
  impl_->stop_listening();
}
void Server::watch(int fd, std::function<void()> on_ready) {
  impl_->watch(fd, std::move(on_ready));
}
void Server::unwatch(int fd) noexcept {
  impl_->unwatch(fd);
}
void Server::wait(Clock::time_point until) {
  impl_->wait(until);
}
void Server::flush() {
  impl_->flush();
}
std::size_t Server::unsent_sessions() const {
  return impl_->unsent_sessions();
}
const ServerCounters& Server::counters() const noexcept {
  return impl_->counters_;
}
const SessionCounters& Server::session_counters() const noexcept {
  return impl_->share_.counters;
}

}  // namespace backplane::fanout
