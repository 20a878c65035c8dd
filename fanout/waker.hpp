#pragma once
// Wakes a thread that waits in epoll.

#include <atomic>

#include "core/process/wake_fd.hpp"

namespace backplane::fanout {

/// wake() costs one load while the other thread is awake, and one write() if it sleeps.
///
///     sleeper: fall_asleep(); if (nothing to do) epoll_wait(…, fd(), …); wake_up();
///     others:  provide something to do (a sequentially consistent store), then wake();
///
/// Either the sleeper sees what there is to do, or the others see that it sleeps.
class Waker {
 public:
  /// Readable after a wake() that found the sleeper asleep, until drain().
  [[nodiscard]] int fd() const noexcept { return wake_.fd(); }

  // The sleeper's thread.
  void fall_asleep() noexcept { asleep_.store(true); }
  void wake_up() noexcept { asleep_.store(false, std::memory_order_relaxed); }
  void drain() noexcept { wake_.drain(); }

  /// Any other thread.
  void wake() noexcept {
    if (!asleep_.load() || !asleep_.exchange(false)) return;
    wake_.wake();
  }

 private:
  WakeFd wake_;
  alignas(64) std::atomic<bool> asleep_{false};
};

}  // namespace backplane::fanout
