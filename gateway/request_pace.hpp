#pragma once
// How much time clients' requests get.

#include <algorithm>
#include <chrono>

namespace backplane::gateway {

/// Executing requests may take half of a thread's time, in portions: a flood of them leaves the other half to
/// events, and a part of the machine to the threads that do what follows from them. Requests that come now
/// and then are executed at once. Belongs to one thread; pure, time is passed in.
class RequestPace {
 public:
  using Clock = std::chrono::steady_clock;

  /// @param portion what may be spent at once
  explicit RequestPace(Clock::duration portion) noexcept : portion_(portion), left_(portion) {}

  /// When requests may be executed again.
  [[nodiscard]] Clock::time_point ready_at() const noexcept { return ready_at_; }
  /// @returns the time at which to stop. Not before ready_at().
  [[nodiscard]] Clock::time_point begin(Clock::time_point now) noexcept {
    left_ = std::min(portion_, left_ + std::max(now - ended_, Clock::duration::zero()));
    began_ = now;
    return now + left_;
  }
  /// Ends what begin() began.
  /// @param congested the threads that do what follows are behind: they get a portion of time
  void end(Clock::time_point now, bool congested) noexcept {
    left_ -= now - began_;
    ended_ = now;
    ready_at_ = congested || left_ <= Clock::duration::zero() ? now + portion_ : now;
  }

 private:
  const Clock::duration portion_;
  Clock::duration left_;
  Clock::time_point began_{};
  Clock::time_point ended_{};
  Clock::time_point ready_at_{};
};

}  // namespace backplane::gateway
