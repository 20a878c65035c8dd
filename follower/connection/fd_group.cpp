#include "follower/connection/fd_group.hpp"

#include <cerrno>
#include <system_error>

#include <sys/epoll.h>
#include <unistd.h>

namespace backplane::follower {

FdGroup::FdGroup() : fd_(::epoll_create1(EPOLL_CLOEXEC)) {
  if (fd_ < 0) throw std::system_error(errno, std::system_category(), "epoll_create1");
}

FdGroup::~FdGroup() {
  ::close(fd_);
}

void FdGroup::add(std::span<const int> fds) {
  for (const int fd : fds) {
    epoll_event event{};
    event.events = EPOLLIN;
    if (::epoll_ctl(fd_, EPOLL_CTL_ADD, fd, &event) != 0) {
      throw std::system_error(errno, std::system_category(), "epoll_ctl");
    }
  }
}

void FdGroup::remove(std::span<const int> fds) noexcept {
  for (const int fd : fds) ::epoll_ctl(fd_, EPOLL_CTL_DEL, fd, nullptr);
}

}  // namespace backplane::follower
