#pragma once
// How long to sleep until a deadline.

#include <chrono>
#include <ctime>

namespace backplane {

/// From `now` to `until`: 0 if that is past, and at most `at_most`, whose default means for ever. Never
/// overflows, even with time_point::min() and max().
[[nodiscard]] constexpr std::chrono::nanoseconds time_left(
    std::chrono::steady_clock::time_point until, std::chrono::steady_clock::time_point now,
    std::chrono::nanoseconds at_most = std::chrono::hours{1}) noexcept {
  if (until <= now) return std::chrono::nanoseconds{0};
  return until >= now + at_most ? at_most : until - now;
}

/// The same in milliseconds for poll(), rounded up: waking up earlier would find nothing to do.
[[nodiscard]] constexpr int poll_timeout(std::chrono::steady_clock::time_point until,
                                         std::chrono::steady_clock::time_point now,
                                         std::chrono::nanoseconds at_most = std::chrono::hours{1}) noexcept {
  return static_cast<int>(
      std::chrono::ceil<std::chrono::milliseconds>(time_left(until, now, at_most)).count());
}

/// Converts a duration that is not negative, for epoll_pwait2() and similar.
[[nodiscard]] constexpr timespec as_timespec(std::chrono::nanoseconds duration) noexcept {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(duration);
  return {.tv_sec = seconds.count(), .tv_nsec = (duration - seconds).count()};
}

}  // namespace backplane
