#pragma once
// When a source's next event is due.

#include <chrono>
#include <cstdint>

#include <time.h>

namespace backplane::sources {

/// The first multiple of `every` (above 0) after `now_ns`, both in Unix nanoseconds. It is aligned to the
/// wall clock, so there is no drift, however late the previous tick was noticed.
[[nodiscard]] std::int64_t next_tick(std::int64_t now_ns, std::chrono::nanoseconds every) noexcept;

/// Events at a constant rate. Each one's time is computed from the start, so that delays do not add up.
class EvenPace {
 public:
  /// @param rate events per second, above 0
  EvenPace(double rate, std::int64_t start_ns) noexcept : rate_(rate), start_ns_(start_ns) {}

  /// When the next event is due, on the clock of `now_ns`. If that was more than a second ago, the pace
  /// restarts at now, so that a long delay does not cause a burst.
  [[nodiscard]] std::int64_t next(std::int64_t now_ns) noexcept;

 private:
  double rate_;
  std::int64_t start_ns_;
  std::uint64_t events_{};
};

/// Events at the pace of their own times, multiplied by a speed.
class DataPace {
 public:
  /// @param speed above 0; with 60, a minute of the data takes a second
  explicit DataPace(double speed) noexcept : speed_(speed) {}

  /// When the event of a record with time `data_ns` is due, on the clock of `now_ns`. The pace (re)starts,
  /// with an event that is due at once, at the first record, when the data's time goes back, and when an
  /// event is more than a second late.
  [[nodiscard]] std::int64_t next(std::int64_t data_ns, std::int64_t now_ns) noexcept;

 private:
  double speed_;
  bool begun_{};
  std::int64_t begin_data_ns_{};
  std::int64_t begin_ns_{};
  std::int64_t last_data_ns_{};
};

/// A descriptor that becomes readable at a given time. Belongs to one thread.
class Timer {
 public:
  /// @param clock CLOCK_REALTIME, which also wakes when the clock is set, or CLOCK_MONOTONIC.
  /// Throws std::system_error if the kernel refuses.
  explicit Timer(clockid_t clock);
  ~Timer();
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  /// Makes the descriptor readable from `due_ns` of the clock until the next set().
  void set(std::int64_t due_ns);
  [[nodiscard]] std::int64_t now_ns() const noexcept;
  [[nodiscard]] int fd() const noexcept { return fd_; }

 private:
  clockid_t clock_;
  int fd_;
};

}  // namespace backplane::sources
