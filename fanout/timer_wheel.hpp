#pragma once
// Many timers at little cost.

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace backplane::fanout {

/// A hashed timer wheel: timers are set and cancelled in constant time and without allocation. A timer
/// expires at most one tick late, and never early, if advance() is called in time. Belongs to one thread.
class TimerWheel {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::milliseconds tick{10};

  /// A base class. The destructor cancels the timer.
  class Timer {
   public:
    Timer() = default;
    virtual ~Timer() { cancel(); }
    Timer(const Timer&) = delete;
    Timer& operator=(const Timer&) = delete;

    /// Called once when the timer expires, from advance(). May set any timer, including this one, and may
    /// destroy this one.
    virtual void on_time(Clock::time_point now) = 0;
    [[nodiscard]] bool is_set() const noexcept { return previous_ != nullptr; }
    void cancel() noexcept;

   private:
    friend class TimerWheel;
    Timer** previous_{};  ///< the pointer to this timer in its list
    Timer* next_{};
    std::uint64_t due_{};  ///< the tick at which it expires
    std::size_t* count_{};
  };

  explicit TimerWheel(Clock::time_point now) : now_(ticks(now)) {}
  ~TimerWheel();
  TimerWheel(const TimerWheel&) = delete;
  TimerWheel& operator=(const TimerWheel&) = delete;

  /// Sets the timer, or changes its time if it is set.
  void set(Timer& timer, Clock::time_point due) noexcept;
  /// Calls timers that expire.
  void advance(Clock::time_point now);
  /// When to call advance() next: at most one turn of the wheel (about 5 s) from now if a timer is set, else
  /// time_point::max().
  [[nodiscard]] Clock::time_point next() const noexcept;

 private:
  static constexpr std::size_t slots = 512;
  [[nodiscard]] static std::uint64_t ticks(Clock::time_point time) noexcept {
    return static_cast<std::uint64_t>(time.time_since_epoch() / tick);
  }
  void link(Timer& timer, Timer*& head) noexcept;

  std::array<Timer*, slots> slots_{};
  std::uint64_t now_;  ///< the tick of the last advance()
  std::size_t count_{};
};

}  // namespace backplane::fanout
