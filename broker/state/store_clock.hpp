#pragma once
// The clock of a history store.

#include <cstdint>
#include <limits>

namespace backplane::broker {

/// The store's clock: the broker's wall clock, except that it never goes back. It stands still during a step
/// back of up to a second. At a larger step, all earlier times are moved back by as much, so that ages stay
/// true and a time in a request means the current wall clock.
class StoreClock {
 public:
  /// Advances to `wall_ns`. @returns the store's time.
  std::int64_t advance(std::int64_t wall_ns) noexcept;
  [[nodiscard]] std::int64_t now() const noexcept { return now_; }
  /// Converts a time of the current wall clock to the store's time.
  [[nodiscard]] std::int64_t of(std::int64_t wall_ns) const noexcept;

  /// What restore() needs later.
  [[nodiscard]] std::int64_t shift() const noexcept { return shift_; }
  /// Continues a clock of an earlier process. The time never goes back.
  void restore(std::int64_t now, std::int64_t shift) noexcept;

 private:
  std::int64_t now_{std::numeric_limits<std::int64_t>::min()};
  std::int64_t shift_{0};
  bool started_{false};
};

/// a + b, or the nearest number that there is.
[[nodiscard]] std::int64_t add_bounded(std::int64_t a, std::int64_t b) noexcept;

}  // namespace backplane::broker
