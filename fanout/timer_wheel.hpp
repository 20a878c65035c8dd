#pragma once
// Many deadlines, cheaply.

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace backplane::fanout {

/// Timers that are set and taken back in constant time, without memory of their own. A deadline is kept to
/// within one tick, never early. Belongs to one thread.
class TimerWheel {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::milliseconds tick{10};

  /// Whoever waits. Takes itself back when it is destroyed.
  class Timer {
   public:
    Timer() = default;
    virtual ~Timer() { cancel(); }
    Timer(const Timer&) = delete;
    Timer& operator=(const Timer&) = delete;

    /// Called once, from advance(). May set any timer, this one too, and destroy this one.
    virtual void on_time(Clock::time_point now) = 0;
    [[nodiscard]] bool is_set() const noexcept { return previous_ != nullptr; }
    void cancel() noexcept;

   private:
    friend class TimerWheel;
    Timer** previous_{};  ///< what points here
    Timer* next_{};
    std::uint64_t due_{};  ///< tick
    std::size_t* count_{};
  };

  explicit TimerWheel(Clock::time_point now) : now_(ticks(now)) {}
  ~TimerWheel();
  TimerWheel(const TimerWheel&) = delete;
  TimerWheel& operator=(const TimerWheel&) = delete;

  /// A timer that is set already is set anew.
  void set(Timer& timer, Clock::time_point due) noexcept;
  /// Calls what is due.
  void advance(Clock::time_point now);
  /// When advance() should be called next: at the latest one turn of the wheel (some 5 s) from now, where
  /// any timer is set; else time_point::max().
  [[nodiscard]] Clock::time_point next() const noexcept;

 private:
  static constexpr std::size_t slots = 512;
  [[nodiscard]] static std::uint64_t ticks(Clock::time_point time) noexcept {
    return static_cast<std::uint64_t>(time.time_since_epoch() / tick);
  }
  void link(Timer& timer, Timer*& head) noexcept;

  std::array<Timer*, slots> slots_{};
  std::uint64_t now_;  ///< the last tick that was advanced to
  std::size_t count_{};
};

}  // namespace backplane::fanout
