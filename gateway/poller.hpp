#pragma once
// Waits for several descriptors.

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <system_error>

#include <sys/epoll.h>

#include "core/process/descriptor.hpp"
#include "core/time/deadline.hpp"

namespace backplane::gateway {

/// An epoll that sets a flag for each readable descriptor. Lives on one thread. Does not own the descriptors.
class Poller {
 public:
  using Clock = std::chrono::steady_clock;

  /// Throws std::system_error if the kernel refuses, as does watch().
  Poller() : epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
    if (!epoll_) throw std::system_error(errno, std::system_category(), "epoll_create1");
  }

  /// Makes wait() return while `fd` is readable, and set `*ready` (unless it is nullptr).
  void watch(int fd, bool* ready) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.ptr = ready;
    if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
      throw std::system_error(errno, std::system_category(), "epoll_ctl");
    }
  }

  /// Blocks until a descriptor is readable or until `until`. Does not block if that is past.
  void wait(Clock::time_point until) {
    const timespec timeout = as_timespec(time_left(until, Clock::now()));
    std::array<epoll_event, 64> events;
    const int ready =
        ::epoll_pwait2(epoll_.get(), events.data(), static_cast<int>(events.size()), &timeout, nullptr);
    if (ready < 0 && errno != EINTR) throw std::system_error(errno, std::system_category(), "epoll_pwait2");
    for (int i = 0; i < ready; ++i) {
      auto* const flag = static_cast<bool*>(events[static_cast<std::size_t>(i)].data.ptr);
      if (flag != nullptr) *flag = true;
    }
  }

 private:
  Descriptor epoll_;
};

}  // namespace backplane::gateway
