#pragma once
// How one thread wakes another that waits in epoll.

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <system_error>

#include <sys/eventfd.h>
#include <unistd.h>

#include "fanout/descriptor.hpp"

namespace backplane::fanout {

/// Costs the waking threads a load while the other is awake, and one write where it sleeps.
///
///     sleeper: fall_asleep(); if (nothing to do) epoll_wait(…, fd(), …); wake_up();
///     others:  make something to do (a sequentially consistent store), then wake();
///
/// Either the sleeper sees what there is to do, or the others see that it sleeps.
class Waker {
 public:
  /// Throws std::system_error where the kernel refuses an eventfd.
  Waker() : fd_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
    if (!fd_) throw std::system_error(errno, std::system_category(), "eventfd");
  }

  /// Readable after a wake() that found the sleeper asleep, until drain().
  [[nodiscard]] int fd() const noexcept { return fd_.get(); }

  // The sleeper's.
  void fall_asleep() noexcept { asleep_.store(true); }
  void wake_up() noexcept { asleep_.store(false, std::memory_order_relaxed); }
  void drain() noexcept {
    std::uint64_t count = 0;
    (void)!::read(fd_.get(), &count, sizeof count);  // nothing there is as good
  }

  /// Any other thread's.
  void wake() noexcept {
    if (!asleep_.load() || !asleep_.exchange(false)) return;
    const std::uint64_t one = 1;
    (void)!::write(fd_.get(), &one, sizeof one);  // refused only where it is readable by far
  }

 private:
  Descriptor fd_;
  alignas(64) std::atomic<bool> asleep_{false};
};

}  // namespace backplane::fanout
