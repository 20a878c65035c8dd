#include "bench/fanout/raw_broadcast.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>

#include <sys/epoll.h>
#include <sys/socket.h>

namespace backplane::bench {
namespace {

std::size_t send_some(int fd, std::string_view bytes) {
  const ssize_t sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  if (sent >= 0) return static_cast<std::size_t>(sent);
  if (errno == EAGAIN) return 0;
  std::perror("send");
  std::exit(1);
}

}  // namespace

struct RawBroadcast::Socket {
  Descriptor fd;
  std::string rest;
};

RawBroadcast::RawBroadcast(std::vector<Descriptor> sockets) : epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
  for (Descriptor& each : sockets) {
    auto socket = std::make_unique<Socket>();
    socket->fd = std::move(each);
    epoll_event event{};
    event.events = EPOLLOUT | EPOLLET;
    event.data.ptr = socket.get();
    (void)::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, socket->fd.get(), &event);
    sockets_.push_back(std::move(socket));
  }
}

RawBroadcast::~RawBroadcast() = default;

void RawBroadcast::send(std::string_view bytes) {
  for (const auto& socket : sockets_) {
    const std::size_t sent = socket->rest.empty() ? send_some(socket->fd.get(), bytes) : 0;
    if (sent < bytes.size()) socket->rest.append(bytes.substr(sent));
  }
}

void RawBroadcast::write_rest(Socket& socket) {
  if (!socket.rest.empty()) socket.rest.erase(0, send_some(socket.fd.get(), socket.rest));
}

void RawBroadcast::serve_until_readable(int fd) {
  epoll_event readable_event{};
  readable_event.events = EPOLLIN;
  (void)::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &readable_event);
  std::array<epoll_event, 256> events;
  for (bool readable = false; !readable;) {
    const int ready = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), -1);
    for (int i = 0; i < ready; ++i) {
      auto* const socket = static_cast<Socket*>(events[static_cast<std::size_t>(i)].data.ptr);
      if (socket == nullptr) {
        readable = true;
      } else {
        write_rest(*socket);
      }
    }
  }
  (void)::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

}  // namespace backplane::bench
