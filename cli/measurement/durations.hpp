#pragma once
// Percentiles of many durations.

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace backplane::cli {

/// Any number of durations in 15 KiB: each is counted in a bucket that is at most 1/32 of its value wide. A
/// value; belongs to one thread.
class Durations {
 public:
  /// Negative durations count as 0.
  void record(std::chrono::nanoseconds duration) noexcept;

  [[nodiscard]] std::uint64_t count() const noexcept { return count_; }
  /// The duration that `part` (0 to 1) of all do not exceed; too long by 1/32 at most. 0 if there are none.
  [[nodiscard]] std::chrono::nanoseconds percentile(double part) const noexcept;
  /// Exact.
  [[nodiscard]] std::chrono::nanoseconds max() const noexcept { return max_; }

 private:
  static constexpr unsigned fine_bits = 5;  // 32 buckets for each power of two
  static constexpr std::size_t buckets = (64 - fine_bits + 1) << fine_bits;
  static std::size_t bucket_of(std::uint64_t ns) noexcept;
  static std::uint64_t upper_end(std::size_t bucket) noexcept;

  std::array<std::uint64_t, buckets> counts_{};
  std::uint64_t count_{};
  std::chrono::nanoseconds max_{0};
};

}  // namespace backplane::cli
