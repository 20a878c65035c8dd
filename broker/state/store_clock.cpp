#include "broker/state/store_clock.hpp"

#include <algorithm>

namespace backplane::broker {
namespace {

using Nanoseconds = std::int64_t;
constexpr Nanoseconds never = std::numeric_limits<Nanoseconds>::max();

// A step back of less than this is waited out: batches and turns of the loop read the clock at different
// times.
constexpr Nanoseconds step_back_waited = 1'000'000'000;

Nanoseconds step_back(Nanoseconds from, Nanoseconds to) noexcept {
  Nanoseconds step = 0;
  return __builtin_sub_overflow(from, to, &step) ? never : step;
}

}  // namespace

std::int64_t add_bounded(std::int64_t a, std::int64_t b) noexcept {
  Nanoseconds sum = 0;
  if (!__builtin_add_overflow(a, b, &sum)) return sum;
  return b > 0 ? never : std::numeric_limits<Nanoseconds>::min();
}

std::int64_t StoreClock::advance(std::int64_t wall_ns) noexcept {
  const std::int64_t time = of(wall_ns);
  if (!started_ || time >= now_) {
    started_ = true;
    now_ = time;
  } else if (add_bounded(time, step_back_waited) < now_) {
    shift_ = add_bounded(shift_, step_back(now_, time));
  }
  return now_;
}

std::int64_t StoreClock::of(std::int64_t wall_ns) const noexcept {
  return add_bounded(wall_ns, shift_);
}

void StoreClock::restore(std::int64_t now, std::int64_t shift) noexcept {
  started_ = true;
  now_ = std::max(now_, now);
  shift_ = shift;
}

}  // namespace backplane::broker
