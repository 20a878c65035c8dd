#pragma once
// ZMTP's numbers: most significant byte first.

#include <concepts>
#include <cstddef>
#include <string>
#include <string_view>

namespace backplane::zmtp {

/// Reads the number in the first sizeof(Number) bytes of `bytes`.
template <std::unsigned_integral Number>
[[nodiscard]] constexpr Number load_big_endian(std::string_view bytes) noexcept {
  Number value{};
  for (std::size_t i = 0; i < sizeof(Number); ++i)
    value = static_cast<Number>(value << 8 | static_cast<unsigned char>(bytes[i]));
  return value;
}

template <std::unsigned_integral Number>
void append_big_endian(Number value, std::string& out) {
  for (std::size_t left = sizeof(Number); left > 0; --left)
    out.push_back(static_cast<char>(value >> (8 * (left - 1)) & 0xff));
}

}  // namespace backplane::zmtp
