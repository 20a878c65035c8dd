#pragma once
// Protobuf's fixed32 and fixed64: least significant byte first, whatever the machine.

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace backplane::wire {

/// `value` with its bytes as little-endian memory has them, and back: it is its own inverse.
[[nodiscard]] constexpr std::uint64_t little_endian(std::uint64_t value) noexcept {
  if constexpr (std::endian::native == std::endian::big) return __builtin_bswap64(value);
  return value;
}
[[nodiscard]] constexpr std::uint32_t little_endian(std::uint32_t value) noexcept {
  if constexpr (std::endian::native == std::endian::big) return __builtin_bswap32(value);
  return value;
}

/// The number whose sizeof(Number) bytes begin at `at`, which need not be aligned.
template <std::unsigned_integral Number>
[[nodiscard]] Number load_little_endian(const void* at) noexcept {
  Number value{};
  std::memcpy(&value, at, sizeof value);
  return little_endian(value);
}

/// Writes the sizeof(Number) bytes of `value` to `at`, which need not be aligned.
template <std::unsigned_integral Number>
void store_little_endian(Number value, void* at) noexcept {
  value = little_endian(value);
  std::memcpy(at, &value, sizeof value);
}

}  // namespace backplane::wire
