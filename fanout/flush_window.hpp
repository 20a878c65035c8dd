#pragma once
// How long a worker lets events gather before it writes them.

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace backplane::fanout {

/// A send costs some microseconds whatever it carries, so under load it pays to wait for more. After it has
/// written, a worker rests as long as that took, at most `most`: idle or lightly loaded, the next event
/// finds it rested and goes out at once; loaded, it writes for at most half of its time. Where sends are
/// large, more would gain nothing, and it does not rest. Belongs to one worker.
class FlushWindow {
 public:
  using Clock = std::chrono::steady_clock;

  explicit FlushWindow(std::chrono::microseconds most) noexcept : most_(most) {}

  /// What is published waits until then.
  [[nodiscard]] Clock::time_point until() const noexcept { return until_; }

  /// After events have been written.
  void wrote(Clock::time_point began, Clock::time_point ended, std::uint64_t sends,
             std::uint64_t bytes) noexcept {
    if (sends == 0 || bytes / sends >= bytes_enough) return;
    until_ = ended + std::min<Clock::duration>(most_, ended - began);
  }

 private:
  static constexpr std::uint64_t bytes_enough = 8192;
  std::chrono::microseconds most_;
  Clock::time_point until_{};
};

}  // namespace backplane::fanout
