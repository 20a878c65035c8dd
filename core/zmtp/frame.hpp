#pragma once
// Frames: what messages and commands consist of, in ZMTP 2.0, 3.0 and 3.1.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "core/zmtp/big_endian.hpp"

namespace backplane::zmtp {

/// The first byte of a frame. A frame of up to 255 bytes has a length of one byte, a long one of eight.
namespace flag {
inline constexpr unsigned more = 1;  ///< another frame of the same message follows
inline constexpr unsigned long_size = 2;
inline constexpr unsigned command = 4;  ///< ZMTP 3 only
}  // namespace flag

inline constexpr std::size_t short_frame_bytes_max = 255;

/// The bytes of a frame with its head.
[[nodiscard]] constexpr std::size_t frame_bytes(std::size_t body_bytes) noexcept {
  return body_bytes + (body_bytes > short_frame_bytes_max ? 9 : 2);
}

/// Writes the head of a frame: `body_bytes` of body must follow.
/// @param flags more, command or 0
inline void append_frame_head(unsigned flags, std::size_t body_bytes, std::string& out) {
  if (body_bytes > short_frame_bytes_max) {
    out.push_back(static_cast<char>(flags | flag::long_size));
    append_big_endian<std::uint64_t>(body_bytes, out);
  } else {
    out.push_back(static_cast<char>(flags));
    out.push_back(static_cast<char>(body_bytes));
  }
}

inline void append_frame(unsigned flags, std::string_view body, std::string& out) {
  append_frame_head(flags, body.size(), out);
  out.append(body);
}

/// Writes a message; the bytes are the same in every version.
/// @param frames at least one
inline void append_message(std::span<const std::string_view> frames, std::string& out) {
  for (std::size_t i = 0; i < frames.size(); ++i)
    append_frame(i + 1 < frames.size() ? flag::more : 0, frames[i], out);
}

}  // namespace backplane::zmtp
