#pragma once
// How long the loop may wait for full subscribers.

#include <array>
#include <chrono>
#include <cstddef>

namespace backplane::broker {

/// At most 20 ms of waiting in any 100 ms, 10 ms at a time. This way a fast subscriber loses nothing beside a
/// stalled one, and the stalled one does not stop the others (docs/decisions/0002-bounded-blocking.md). Not
/// thread-safe; time is passed in.
class WaitBudget {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::milliseconds window{100};
  static constexpr std::chrono::milliseconds wait_max{10};
  static constexpr std::chrono::milliseconds waits_in_window_max{20};

  /// How long the loop may wait from `now` on, in whole milliseconds; 0: not at all.
  [[nodiscard]] std::chrono::milliseconds allowed(Clock::time_point now) const noexcept {
    Clock::duration spent{0};
    for (const Wait& wait : waits_) {
      // Only the part of a wait within the window counts.
      const auto begin = std::max(wait.begin, now - window);
      if (wait.end > begin) spent += wait.end - begin;
    }
    if (spent >= waits_in_window_max) return std::chrono::milliseconds{0};
    return std::min(wait_max, std::chrono::floor<std::chrono::milliseconds>(waits_in_window_max - spent));
  }

  /// Records a wait.
  void waited(Clock::time_point begin, Clock::time_point end) noexcept {
    waits_[next_] = Wait{begin, end};
    next_ = (next_ + 1) % waits_.size();
  }

 private:
  struct Wait {
    Clock::time_point begin;
    Clock::time_point end;
  };
  // Holds more waits than fit into a window: a wait takes at least one millisecond, so at most 100 do. If one
  // that still counts were overwritten, the budget would be exceeded only slightly.
  std::array<Wait, 128> waits_{};
  std::size_t next_{};
};

}  // namespace backplane::broker
