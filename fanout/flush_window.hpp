#pragma once
// How long a worker lets events gather before it writes them.

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace backplane::fanout {

/// A send costs some microseconds whatever it carries, so under load it pays to wait for more. A worker is
/// loaded when it has been behind for some time: each write ended with more to write. It then rests after a
/// write as long as that took, at most `most`, so that it writes for at most half of its time; until it has
/// caught up. One that is not loaded never rests: the next event goes out at once, and what comes during a
/// write goes together. Where sends are large, more would gain nothing, and it does not rest either.
/// Belongs to one worker.
class FlushWindow {
 public:
  using Clock = std::chrono::steady_clock;

  explicit FlushWindow(std::chrono::microseconds most) noexcept : most_(most) {}

  /// What is published waits until then.
  [[nodiscard]] Clock::time_point until() const noexcept { return until_; }

  /// After events have been written. `behind`: more have been published since `began`.
  void wrote(Clock::time_point began, Clock::time_point ended, std::uint64_t sends, std::uint64_t bytes,
             bool behind) noexcept {
    if (!was_behind_) behind_since_ = began;
    was_behind_ = behind;
    if (!behind || ended - behind_since_ < loaded_after) return;
    if (sends == 0 || bytes / sends >= bytes_enough) return;
    until_ = ended + std::min<Clock::duration>(most_, ended - began);
  }

 private:
  // Longer than a few writes to hundreds of clients, which a pause of the machine puts behind as well.
  static constexpr std::chrono::milliseconds loaded_after{2};
  static constexpr std::uint64_t bytes_enough = 8192;
  std::chrono::microseconds most_;
  Clock::time_point until_{};
  Clock::time_point behind_since_{};  ///< where was_behind_
  bool was_behind_{};
};

}  // namespace backplane::fanout
