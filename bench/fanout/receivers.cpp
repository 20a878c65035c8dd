#include "bench/fanout/receivers.hpp"

#include <array>
#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "bench/fanout/loopback.hpp"

namespace backplane::bench {

using backplane::Descriptor;

std::vector<std::pair<Descriptor, Descriptor>> Receivers::connect(std::size_t count) {
  std::vector<std::pair<Descriptor, Descriptor>> connections;
  const Loopback loopback;
  for (std::size_t i = 0; i < count; ++i) {
    Descriptor client = loopback.connect();
    must(::fcntl(client.get(), F_SETFL, O_NONBLOCK) == 0, "fcntl");
    connections.emplace_back(std::move(client), loopback.accept());
  }
  return connections;
}

Receivers::Receivers(std::size_t count)
    : epoll_(::epoll_create1(EPOLL_CLOEXEC)),
      arrived_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      stop_(::eventfd(0, EFD_CLOEXEC)) {
  const auto watch = [this](int fd) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = fd;
    must(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0, "epoll_ctl");
  };
  for (auto& [client, server] : connect(count)) {
    watch(client.get());
    clients_.push_back(std::move(client));
    server_ends_.push_back(std::move(server));
  }
  watch(stop_.get());
  thread_ = std::thread([this] { run(); });
}

Receivers::~Receivers() {
  const std::uint64_t one = 1;
  must(::write(stop_.get(), &one, sizeof one) == sizeof one, "write");
  thread_.join();
}

std::vector<Descriptor> Receivers::take_server_ends() {
  return std::exchange(server_ends_, {});
}

void Receivers::expect(std::uint64_t bytes) {
  expected_.fetch_add(bytes);
}

void Receivers::clear_arrived() const {
  std::uint64_t count = 0;
  (void)!::read(arrived_.get(), &count, sizeof count);
}

void Receivers::wait() const {
  pollfd ready{.fd = arrived_.get(), .events = POLLIN, .revents = 0};
  while (::poll(&ready, 1, 10'000) != 1) must(errno == EINTR, "no bytes for 10 s");
  clear_arrived();
}

void Receivers::run() {
  std::vector<char> buffer(256u << 10);
  std::array<epoll_event, 256> events;
  for (;;) {
    const int ready = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), -1);
    for (int i = 0; i < ready; ++i) {
      const int fd = events[static_cast<std::size_t>(i)].data.fd;
      if (fd == stop_.get()) return;
      const ssize_t got = ::recv(fd, buffer.data(), buffer.size(), 0);
      if (got == 0) must(::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr) == 0, "epoll_ctl");
      if (got < 0) must(errno == EAGAIN, "recv");
      if (got <= 0) continue;
      received_ += static_cast<std::uint64_t>(got);
      const std::uint64_t expected = expected_.load();
      must(received_ <= expected, "more bytes came than were sent");
      const std::uint64_t one = 1;
      if (received_ == expected) must(::write(arrived_.get(), &one, sizeof one) == sizeof one, "write");
    }
  }
}

}  // namespace backplane::bench
