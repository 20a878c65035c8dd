#pragma once
// How long something took, for Prometheus.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace backplane::metrics {

/// Counts durations by size, from 100 us to 10 s. A value.
class LatencyHistogram {
 public:
  /// Upper bounds of the buckets in nanoseconds; a duration equal to one is counted there.
  static constexpr std::array<std::uint64_t, 16> bounds_ns{
      100'000,       250'000,       500'000,       1'000'000,     2'500'000,   5'000'000,
      10'000'000,    25'000'000,    50'000'000,    100'000'000,   250'000'000, 500'000'000,
      1'000'000'000, 2'500'000'000, 5'000'000'000, 10'000'000'000};

  void add(std::uint64_t ns) noexcept {
    const auto bucket = static_cast<std::size_t>(std::ranges::lower_bound(bounds_ns, ns) - bounds_ns.begin());
    if (bucket < bounds_ns.size()) ++counts_[bucket];
    ++count_;
    sum_ns_ += ns;
  }
  [[nodiscard]] std::uint64_t count() const noexcept { return count_; }
  [[nodiscard]] std::uint64_t sum_ns() const noexcept { return sum_ns_; }
  /// The number of durations above the bound before and up to `bounds_ns[bucket]`.
  [[nodiscard]] std::uint64_t in_bucket(std::size_t bucket) const { return counts_.at(bucket); }

 private:
  std::array<std::uint64_t, bounds_ns.size()> counts_{};
  std::uint64_t count_{};
  std::uint64_t sum_ns_{};
};

}  // namespace backplane::metrics
