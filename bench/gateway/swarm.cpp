#include "bench/gateway/swarm.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <span>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

namespace backplane::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t connects_together = 100;
constexpr std::size_t number_digits = 12;
constexpr std::size_t time_digits = 19;

[[noreturn]] void exit_with_error(const char* what) {
  std::perror(what);
  std::exit(1);
}

std::int64_t now_ns() {
  return Clock::now().time_since_epoch().count();
}

void write_digits(std::uint64_t value, std::size_t digits, char* out) noexcept {
  for (std::size_t i = digits; i-- > 0; value /= 10) out[i] = static_cast<char>('0' + value % 10);
}

std::uint64_t read_digits(const char* at, std::size_t digits) noexcept {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < digits; ++i) value = value * 10 + static_cast<unsigned>(at[i] - '0');
  return value;
}

void write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) exit_with_error("cannot send a client's request");
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
}

}  // namespace

void Payload::set_number(std::uint64_t number) noexcept {
  write_digits(number, number_digits, bytes_.data());
}

void Payload::set_time(std::int64_t time_ns) noexcept {
  write_digits(static_cast<std::uint64_t>(time_ns), time_digits, bytes_.data() + number_digits);
}

Swarm::Swarm(Plan plan)
    : plan_(std::move(plan)),
      epoll_(::epoll_create1(EPOLL_CLOEXEC)),
      stop_(::eventfd(0, EFD_CLOEXEC)),
      clients_(plan_.clients + plan_.stalled),
      buffer_(256u << 10) {
  latencies_.reserve(1u << 20);
  // Some at a time: the benchmark measures the connected clients, not the rush of connections.
  for (std::size_t n = 0; n < clients_.size(); n += connects_together) {
    const std::size_t last = std::min(clients_.size(), n + connects_together);
    connect(n, last);
    read_replies(n, last);
  }
  epoll_event event{};
  event.events = EPOLLIN;
  (void)::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, stop_.get(), &event);
  for (std::size_t n = 0; n < plan_.clients; ++n) {
    event.data.ptr = &clients_[n];
    (void)::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, clients_[n].fd.get(), &event);
  }
  thread_ = std::thread([this] { run(); });
}

Swarm::~Swarm() {
  if (thread_.joinable()) (void)take_latencies();
}

void Swarm::connect(std::size_t first, std::size_t last) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(plan_.port);
  for (std::size_t n = first; n < last; ++n) {
    clients_[n].fd = Descriptor(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int fd = clients_[n].fd.get();
    if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
      exit_with_error("cannot connect");
    const int one = 1;
    (void)::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    write_all(fd, plan_.request(n));
    clients_[n].reply_left = plan_.reply_bytes(n);
  }
}

void Swarm::read_replies(std::size_t first, std::size_t last) {
  for (Client& client : std::span(clients_).subspan(first, last - first)) {
    while (client.reply_left > 0) {
      const std::size_t size = std::min<std::size_t>(client.reply_left, buffer_.size());
      const ssize_t got = ::recv(client.fd.get(), buffer_.data(), size, 0);
      if (got <= 0) exit_with_error("cannot read a client's reply");
      client.reply_left -= static_cast<std::size_t>(got);
    }
  }
}

void Swarm::run() {
  std::array<epoll_event, 256> events;
  for (;;) {
    const int ready = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), -1);
    for (int i = 0; i < ready; ++i) {
      auto* const client = static_cast<Client*>(events[static_cast<std::size_t>(i)].data.ptr);
      if (client == nullptr) return;
      read(*client);
    }
    last_ns_.store(now_ns(), std::memory_order_relaxed);
    delivered_.store(read_messages_, std::memory_order_relaxed);
  }
}

void Swarm::read(Client& client) {
  const ssize_t got = ::recv(client.fd.get(), buffer_.data(), buffer_.size(), MSG_DONTWAIT);
  if (got < 0 && errno == EAGAIN) return;
  if (got <= 0) {
    faults_.fetch_add(1, std::memory_order_relaxed);
    (void)::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, client.fd.get(), nullptr);
    return;
  }
  if (plan_.framing.message_bytes == 0) {
    return count(client, {buffer_.data(), static_cast<std::size_t>(got)});
  }
  const std::uint64_t before = client.bytes / plan_.framing.message_bytes;
  client.bytes += static_cast<std::uint64_t>(got);
  const std::uint64_t after = client.bytes / plan_.framing.message_bytes;
  read_messages_ += after - before;
  if (after > before) look_at(client, buffer_.data(), static_cast<std::size_t>(got));
}

/// The last complete message that ends in `data`, if it also begins there.
void Swarm::look_at(const Client& client, const char* data, std::size_t size) {
  const std::size_t message_bytes = plan_.framing.message_bytes;
  const std::size_t rest = client.bytes % message_bytes;
  if (size < rest + message_bytes) return;
  look_at_payload(data + (size - rest - message_bytes) + plan_.framing.payload_at,
                  client.bytes / message_bytes);
}

/// Counts messages of different lengths by the byte that each has once. Returns the contents of the last
/// complete payload in `data`.
void Swarm::count(Client& client, std::string_view data) {
  const auto in = [&](std::string_view part) {
    std::uint64_t all = 0;  // by memchr: CPU that the clients use is not available to the server
    for (std::size_t at = part.find(plan_.framing.once); at != std::string_view::npos; ++all) {
      at = part.find(plan_.framing.once, at + 1);
    }
    return all;
  };
  const std::uint64_t come = in(data);
  client.messages += come;
  read_messages_ += come;
  const std::string_view before = plan_.framing.before_payload;
  if (data.size() < before.size() + payload_bytes) return;
  const std::size_t at = data.rfind(before, data.size() - before.size() - payload_bytes);
  if (at == std::string_view::npos) return;
  look_at_payload(data.data() + at + before.size(), client.messages - in(data.substr(at)));
}

/// Checks the number of a message.
void Swarm::look_at_payload(const char* payload, std::uint64_t number) {
  if (read_digits(payload, number_digits) != number) {
    faults_.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  const auto sent = static_cast<std::int64_t>(read_digits(payload + number_digits, time_digits));
  if (latencies_.size() < latencies_.capacity()) {
    latencies_.push_back(static_cast<double>(now_ns() - sent) / 1'000);
  }
}

bool Swarm::wait_delivered(std::uint64_t count, std::chrono::seconds patience) const {
  auto progress_at = Clock::now();
  for (std::uint64_t seen = delivered(); seen < count;) {
    std::this_thread::sleep_for(std::chrono::milliseconds{1});
    const std::uint64_t now = delivered();
    if (now != std::exchange(seen, now)) progress_at = Clock::now();
    if (Clock::now() - progress_at > patience) return false;
  }
  return true;
}

Clock::time_point Swarm::last_at() const {
  return Clock::time_point(Clock::duration(last_ns_.load(std::memory_order_relaxed)));
}

std::vector<double> Swarm::take_latencies() {
  const std::uint64_t one = 1;
  if (::write(stop_.get(), &one, sizeof one) < 0) exit_with_error("cannot write to an eventfd");
  thread_.join();
  std::sort(latencies_.begin(), latencies_.end());
  return std::move(latencies_);
}

}  // namespace backplane::bench
