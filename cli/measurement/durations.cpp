#include "cli/measurement/durations.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

namespace backplane::cli {

std::size_t Durations::bucket_of(std::uint64_t ns) noexcept {
  constexpr std::uint64_t fine = 1u << fine_bits;
  if (ns < fine) return ns;
  const unsigned shift = static_cast<unsigned>(std::bit_width(ns)) - fine_bits - 1;
  return (static_cast<std::size_t>(shift) << fine_bits) + static_cast<std::size_t>(ns >> shift);
}

std::uint64_t Durations::upper_end(std::size_t bucket) noexcept {
  constexpr std::size_t fine = std::size_t{1} << fine_bits;
  if (bucket < 2 * fine) return bucket;
  const std::size_t shift = (bucket >> fine_bits) - 1;
  const std::uint64_t top = (bucket & (fine - 1)) + fine;
  return (top << shift) + ((std::uint64_t{1} << shift) - 1);
}

void Durations::record(std::chrono::nanoseconds duration) noexcept {
  duration = std::max(duration, std::chrono::nanoseconds{0});
  ++counts_[bucket_of(static_cast<std::uint64_t>(duration.count()))];
  ++count_;
  max_ = std::max(max_, duration);
}

std::chrono::nanoseconds Durations::percentile(double part) const noexcept {
  const auto wanted = static_cast<std::uint64_t>(std::ceil(part * static_cast<double>(count_)));
  std::uint64_t seen = 0;
  for (std::size_t bucket = 0; bucket < buckets; ++bucket) {
    seen += counts_[bucket];
    if (seen == 0 || seen < wanted) continue;
    return std::min(max_, std::chrono::nanoseconds{upper_end(bucket)});
  }
  return max_;
}

}  // namespace backplane::cli
