#pragma once
// Protobuf's fixed32 and fixed64: least significant byte first, on any machine.

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace backplane::wire {

/// Converts between the machine's byte order and little-endian; it is its own inverse.
[[nodiscard]] constexpr std::uint64_t little_endian(std::uint64_t value) noexcept {
  if constexpr (std::endian::native == std::endian::big) return __builtin_bswap64(value);
  return value;
}
[[nodiscard]] constexpr std::uint32_t little_endian(std::uint32_t value) noexcept {
  if constexpr (std::endian::native == std::endian::big) return __builtin_bswap32(value);
  return value;
}

/// Reads the number whose sizeof(Number) bytes begin at `at`, which need not be aligned.
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
