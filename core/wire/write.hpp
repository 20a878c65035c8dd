#pragma once
// Writes protobuf fields by hand, for messages that only wrap bytes.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/wire/little_endian.hpp"

namespace backplane::wire {

/// The bytes that `value` takes as a varint.
[[nodiscard]] constexpr std::size_t varint_bytes(std::uint64_t value) noexcept {
  std::size_t bytes = 1;
  for (; value > 0x7f; value >>= 7) ++bytes;
  return bytes;
}

inline void append_varint(std::uint64_t value, std::string& out) {
  for (; value > 0x7f; value >>= 7) out.push_back(static_cast<char>((value & 0x7f) | 0x80));
  out.push_back(static_cast<char>(value));
}

/// The bytes of a string, bytes or message field with a number up to 15.
[[nodiscard]] constexpr std::size_t delimited_bytes(std::size_t content_bytes) noexcept {
  return 1 + varint_bytes(content_bytes) + content_bytes;
}

/// Writes the head of a length-delimited field: `content_bytes` of content must follow.
inline void append_delimited_head(unsigned number, std::size_t content_bytes, std::string& out) {
  out.push_back(static_cast<char>(number << 3 | 2));
  append_varint(content_bytes, out);
}

/// Writes a length-delimited field.
inline void append_delimited(unsigned number, std::string_view content, std::string& out) {
  append_delimited_head(number, content.size(), out);
  out.append(content);
}

/// Writes a varint field with a number up to 15.
inline void append_number(unsigned number, std::uint64_t value, std::string& out) {
  out.push_back(static_cast<char>(number << 3));
  append_varint(value, out);
}

}  // namespace backplane::wire
