#pragma once
// What the clock does, with time passed in.

#include <chrono>
#include <cstdint>
#include <functional>

namespace backplane::events::v1 {
class ClockTick;
}

namespace backplane::sources {

/// The time that a clock tells, and how it waits for it.
struct TickTime {
  std::function<std::int64_t()> now_ns;
  /// Waits until `due_ns`, or, where the time is set meanwhile, perhaps less. @returns false for the end.
  std::function<bool(std::int64_t due_ns)> wait_until;
};

/// Publishes a tick at each multiple of `every`, numbered from 1, until waiting or publishing returns false.
/// Ticks that were slept through are left out, neither made up for nor shifted.
void tick_on(std::chrono::nanoseconds every, const TickTime& time,
             const std::function<bool(const events::v1::ClockTick& tick, std::int64_t due_ns)>& publish);

}  // namespace backplane::sources
