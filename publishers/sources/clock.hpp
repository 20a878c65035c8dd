#pragma once
// The clock's ticks, with time passed in.

#include <chrono>
#include <cstdint>
#include <functional>

namespace backplane::events::v1 {
class ClockTick;
}

namespace backplane::sources {

/// The time, and how to wait for a point in time.
struct TickTime {
  std::function<std::int64_t()> now_ns;
  /// Waits until `due_ns`. May return earlier if the clock is set meanwhile. @returns false to stop.
  std::function<bool(std::int64_t due_ns)> wait_until;
};

/// Publishes a tick at each multiple of `every`, numbered from 1, until `wait_until` or `publish` returns
/// false. Missed ticks are skipped: they are not published late, and they do not shift the ticks that follow.
void tick_on(std::chrono::nanoseconds every, const TickTime& time,
             const std::function<bool(const events::v1::ClockTick& tick, std::int64_t due_ns)>& publish);

}  // namespace backplane::sources
