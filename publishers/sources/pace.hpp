#pragma once
// When a source has its next event.

#include <chrono>
#include <cstdint>

#include <time.h>

namespace backplane::sources {

/// The first multiple of `every` (above 0) after `now`: aligned to the wall clock, and so without drift
/// however late the last one was noticed. Both in Unix nanoseconds.
[[nodiscard]] std::int64_t next_tick(std::int64_t now_ns, std::chrono::nanoseconds every) noexcept;

/// Events at an even rate, each a time of its own after the start, so that delays don't add up.
class EvenPace {
 public:
  /// @param rate events a second, above 0
  EvenPace(double rate, std::int64_t start_ns) noexcept : rate_(rate), start_ns_(start_ns) {}

  /// When the next event is due, on the clock of `now_ns`. Where that is more than a second ago, the pace
  /// begins anew: what was held up for long does not come as a burst.
  [[nodiscard]] std::int64_t next(std::int64_t now_ns) noexcept;

 private:
  double rate_;
  std::int64_t start_ns_;
  std::uint64_t events_{};
};

/// Events at the pace of their data, so many times as fast.
class DataPace {
 public:
  /// @param speed above 0; 60: a minute of the data is a second
  explicit DataPace(double speed) noexcept : speed_(speed) {}

  /// When the event of a record of `data_ns` is due, on the clock of `now_ns`: at once for the first one,
  /// and where the data's time goes back or the event is more than a second late; the pace begins anew there.
  [[nodiscard]] std::int64_t next(std::int64_t data_ns, std::int64_t now_ns) noexcept;

 private:
  double speed_;
  bool begun_{};
  std::int64_t begin_data_ns_{};
  std::int64_t begin_ns_{};
  std::int64_t last_data_ns_{};
};

/// A descriptor that becomes readable at an instant. Belongs to one thread.
class Timer {
 public:
  /// @param clock CLOCK_REALTIME, which also wakes when the clock is set, or CLOCK_MONOTONIC.
  /// Throws std::system_error where the kernel refuses.
  explicit Timer(clockid_t clock);
  ~Timer();
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  /// Readable from `due_ns` of the clock on, until it is set again.
  void set(std::int64_t due_ns);
  [[nodiscard]] std::int64_t now_ns() const noexcept;
  [[nodiscard]] int fd() const noexcept { return fd_; }

 private:
  clockid_t clock_;
  int fd_;
};

}  // namespace backplane::sources
