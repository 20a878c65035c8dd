#pragma once
// How long to sleep until a deadline.

#include <chrono>
#include <ctime>

namespace backplane {

/// From `now` to `until`: nothing where that is past, and at most `at_most`, which by its default stands for
/// ever. Never overflows: time_point::min() and max() may be given.
[[nodiscard]] constexpr std::chrono::nanoseconds time_left(
    std::chrono::steady_clock::time_point until, std::chrono::steady_clock::time_point now,
    std::chrono::nanoseconds at_most = std::chrono::hours{1}) noexcept {
  if (until <= now) return std::chrono::nanoseconds{0};
  return until >= now + at_most ? at_most : until - now;
}

/// The same in poll()'s milliseconds, rounded up: who wakes up earlier would find nothing to do.
[[nodiscard]] constexpr int poll_timeout(std::chrono::steady_clock::time_point until,
                                         std::chrono::steady_clock::time_point now,
                                         std::chrono::nanoseconds at_most = std::chrono::hours{1}) noexcept {
  return static_cast<int>(
      std::chrono::ceil<std::chrono::milliseconds>(time_left(until, now, at_most)).count());
}

/// A duration that is not negative, for epoll_pwait2() and alike.
[[nodiscard]] constexpr timespec as_timespec(std::chrono::nanoseconds duration) noexcept {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(duration);
  return {.tv_sec = seconds.count(), .tv_nsec = (duration - seconds).count()};
}

}  // namespace backplane
