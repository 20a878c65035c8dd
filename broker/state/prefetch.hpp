#pragma once
// Prefetching memory that will be needed soon.

#include <algorithm>
#include <cstddef>

namespace backplane::broker {

/// Starts fetching the memory at `begin` and returns at once. The address need not be valid.
inline void prefetch_lines(const void* begin, std::size_t bytes) noexcept {
  constexpr std::size_t line = 64;
  constexpr std::size_t fetched_max = 16 * line;  // the processor continues by itself
  const auto* const at = static_cast<const std::byte*>(begin);
  for (std::size_t i = 0; i < std::min(bytes, fetched_max); i += line) __builtin_prefetch(at + i);
}

}  // namespace backplane::broker
