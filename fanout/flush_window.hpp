#pragma once
// How long a worker waits for more events before it writes them.

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace backplane::fanout {

/// A send costs some microseconds, whatever its size: under load, waiting for more events pays. A worker is
/// loaded if it has been behind for some time, which means that after each turn of writing there was more to
/// write. It then rests after a turn for as long as the turn took, at most `most`, until it is not behind any
/// longer. It thus writes for at least half of its time. A worker that is not loaded never rests: it writes
/// the next event at once, and events that come while it writes are written together. If sends are large
/// already, waiting gains nothing, and it does not rest either. Belongs to one worker.
class FlushWindow {
 public:
  using Clock = std::chrono::steady_clock;

  explicit FlushWindow(std::chrono::microseconds most) noexcept : most_(most) {}

  /// Published events wait until then.
  [[nodiscard]] Clock::time_point until() const noexcept { return until_; }

  /// To be called after each turn of writing.
  /// @param behind more events have been published since `began`
  void wrote(Clock::time_point began, Clock::time_point ended, std::uint64_t sends, std::uint64_t bytes,
             bool behind) noexcept {
    if (!was_behind_) behind_since_ = began;
    was_behind_ = behind;
    if (!behind || ended - behind_since_ < loaded_after) return;
    if (sends == 0 || bytes / sends >= bytes_enough) return;
    until_ = ended + std::min<Clock::duration>(most_, ended - began);
  }

 private:
  // Longer than a few writes to hundreds of clients: after a pause of the machine, a worker is behind for
  // that long.
  static constexpr std::chrono::milliseconds loaded_after{2};
  static constexpr std::uint64_t bytes_enough = 8192;
  std::chrono::microseconds most_;
  Clock::time_point until_{};
  Clock::time_point behind_since_{};  ///< if was_behind_
  bool was_behind_{};
};

}  // namespace backplane::fanout
