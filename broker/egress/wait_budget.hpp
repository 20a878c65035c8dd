#pragma once
// How long the loop may wait for subscribers that are full.

#include <array>
#include <chrono>
#include <cstddef>

namespace backplane::broker {

/// At most 20 ms of waiting in any 100 ms, 10 ms at a time: what lets a fast subscriber lose nothing beside
/// a stalled one, without letting the stalled one stop everybody (docs/decisions/0002-bounded-blocking.md).
/// One thread; time is passed in.
class WaitBudget {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::milliseconds window{100};
  static constexpr std::chrono::milliseconds wait_max{10};
  static constexpr std::chrono::milliseconds waits_in_window_max{20};

  /// How long may be waited from `now` on; whole milliseconds, 0: not at all.
  [[nodiscard]] std::chrono::milliseconds allowed(Clock::time_point now) const noexcept {
    Clock::duration spent{0};
    for (const Wait& wait : waits_) {
      // A wait counts with the part of it that lies within the window before now.
      const auto begin = std::max(wait.begin, now - window);
      if (wait.end > begin) spent += wait.end - begin;
    }
    if (spent >= waits_in_window_max) return std::chrono::milliseconds{0};
    return std::min(wait_max, std::chrono::floor<std::chrono::milliseconds>(waits_in_window_max - spent));
  }

  /// Says that somebody was waited for.
  void waited(Clock::time_point begin, Clock::time_point end) noexcept {
    waits_[next_] = Wait{begin, end};
    next_ = (next_ + 1) % waits_.size();
  }

 private:
  struct Wait {
    Clock::time_point begin;
    Clock::time_point end;
  };
  // Short waits may be many: when the oldest is overwritten while it still counts, a little more than the
  // budget is waited, never less than one millisecond a wait, so at most 100 fit a window anyway.
  std::array<Wait, 128> waits_{};
  std::size_t next_{};
};

}  // namespace backplane::broker
