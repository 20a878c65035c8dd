#include "core/log/escape.hpp"

#include <cstddef>
#include <iterator>

#include <fmt/format.h>

namespace backplane::log {
namespace {

unsigned byte_at(std::string_view text, std::size_t at) {
  return at < text.size() ? static_cast<unsigned char>(text[at]) : 0u;
}

/// Length of the well-formed UTF-8 sequence (RFC 3629) that begins at `at`; 0: there is none.
std::size_t sequence_bytes(std::string_view text, std::size_t at) {
  const unsigned first = byte_at(text, at);
  const unsigned second = byte_at(text, at + 1);
  const auto follows = [&](std::size_t i) { return (byte_at(text, at + i) & 0xC0u) == 0x80u; };
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return follows(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    const bool overlong = first == 0xE0 && second < 0xA0;
    const bool surrogate = first == 0xED && second > 0x9F;
    return follows(1) && follows(2) && !overlong && !surrogate ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    const bool overlong = first == 0xF0 && second < 0x90;
    const bool too_high = first == 0xF4 && second > 0x8F;
    return follows(1) && follows(2) && follows(3) && !overlong && !too_high ? 4 : 0;
  }
  return 0;
}

}  // namespace

std::string escape(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const unsigned first = byte_at(text, at);
    const std::size_t bytes = sequence_bytes(text, at);
    const bool c1_control = bytes == 2 && first == 0xC2 && byte_at(text, at + 1) < 0xA0;
    if (first == '\n') {
      out += "\\n";
    } else if (first == '\r') {
      out += "\\r";
    } else if (first == '\t') {
      out += "\\t";
    } else if (first == '\\') {
      out += "\\\\";
    } else if (bytes == 0 || first < 0x20 || first == 0x7F) {
      out += fmt::format("\\x{:02X}", first);
    } else if (c1_control) {
      out += fmt::format("\\x{:02X}\\x{:02X}", first, byte_at(text, at + 1));
    } else {
      out.append(text, at, bytes);
    }
    at += bytes == 0 ? 1 : bytes;
  }
  return out;
}

}  // namespace backplane::log
