#include "core/payload/text.hpp"

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "core/wire/scan.hpp"

namespace backplane {
namespace {

constexpr std::string_view hex_digits = "0123456789abcdef";

// Most text needs no escape, so it is checked in words. A word is plain if all its bytes are above 0x1f and
// none of them is 0x7f, `\\` or, for JSON, `"`. A word that is not recognised as plain is checked byte by
// byte.
constexpr std::size_t word_bytes = sizeof(std::uint64_t);
constexpr std::uint64_t every_byte = 0x0101'0101'0101'0101U;
constexpr std::uint64_t high_bits = 0x80 * every_byte;

constexpr std::uint64_t with_byte_below(std::uint64_t word, std::uint64_t limit) {
  return (word - limit * every_byte) & ~word & high_bits;
}

bool is_plain_word(const char* at, bool json) {
  std::uint64_t word = 0;
  std::memcpy(&word, at, sizeof word);
  std::uint64_t special = with_byte_below(word, 0x20) | with_byte_below(word ^ 0x7f * every_byte, 1) |
                          with_byte_below(word ^ '\\' * every_byte, 1);
  if (json) special |= with_byte_below(word ^ '"' * every_byte, 1);
  return special == 0;
}

constexpr bool is_control(char character) {
  return static_cast<unsigned char>(character) < 0x20 || character == 0x7f;
}

void append_hex(char character, std::string& out) {
  const auto byte = static_cast<unsigned char>(character);
  out.push_back(hex_digits[byte >> 4]);
  out.push_back(hex_digits[byte & 0xf]);
}

/// The value of a hexadecimal digit, or -1.
constexpr int hex_value(char digit) {
  if (digit >= '0' && digit <= '9') return digit - '0';
  if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
  if (digit >= 'A' && digit <= 'F') return digit - 'A' + 10;
  return -1;
}

}  // namespace

void append_escaped(std::string_view text, std::string& out) {
  std::size_t plain = 0;  // start of the text that needs no escape
  for (std::size_t i = 0; i < text.size(); ++i) {
    while (text.size() - i >= word_bytes && is_plain_word(text.data() + i, false)) i += word_bytes;
    if (i == text.size()) break;
    const char character = text[i];
    if (!is_control(character) && character != '\\') continue;
    out.append(text.substr(plain, i - plain));
    plain = i + 1;
    switch (character) {
      case '\n':
        out.append("\\n");
        break;
      case '\r':
        out.append("\\r");
        break;
      case '\t':
        out.append("\\t");
        break;
      case '\\':
        out.append("\\\\");
        break;
      default:
        out.append("\\x");
        append_hex(character, out);
    }
  }
  out.append(text.substr(plain));
}

std::string unescape(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const std::size_t backslash = text.find('\\');
    out.append(text.substr(0, backslash));
    if (backslash == std::string_view::npos) break;
    text.remove_prefix(backslash);
    const char kind = text.size() > 1 ? text[1] : '\0';
    std::size_t used = 2;
    if (kind == 'n') {
      out.push_back('\n');
    } else if (kind == 'r') {
      out.push_back('\r');
    } else if (kind == 't') {
      out.push_back('\t');
    } else if (kind == '\\') {
      out.push_back('\\');
    } else if (kind == 'x' && text.size() >= 4 && hex_value(text[2]) >= 0 && hex_value(text[3]) >= 0) {
      out.push_back(static_cast<char>(hex_value(text[2]) * 16 + hex_value(text[3])));
      used = 4;
    } else {
      out.push_back('\\');
      used = 1;
    }
    text.remove_prefix(used);
  }
  return out;
}

// Written here because the only implementations at hand are internal to their libraries: protobuf's is in a
// header that later versions do not install, Boost's in Beast's detail namespace.
void append_base64(std::string_view bytes, std::string& out) {
  constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const std::size_t before = out.size();
  out.resize(before + (bytes.size() + 2) / 3 * 4, '=');
  char* to = out.data() + before;
  const auto byte = [&bytes](std::size_t at) {
    return at < bytes.size() ? static_cast<unsigned char>(bytes[at]) : 0u;
  };
  for (std::size_t at = 0; at < bytes.size(); at += 3) {
    const std::uint32_t group = byte(at) << 16 | byte(at + 1) << 8 | byte(at + 2);
    *to++ = digits[group >> 18];
    *to++ = digits[group >> 12 & 0x3f];
    if (at + 1 < bytes.size()) *to++ = digits[group >> 6 & 0x3f];
    if (at + 2 < bytes.size()) *to++ = digits[group & 0x3f];
  }
}

void append_json_string(std::string_view text, std::string& out) {
  const bool utf8 = wire::is_utf8(text);
  out.push_back('"');
  std::size_t plain = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    while (utf8 && text.size() - i >= word_bytes && is_plain_word(text.data() + i, true)) i += word_bytes;
    if (i == text.size()) break;
    const char character = text[i];
    const bool quoted = character == '"' || character == '\\';
    const bool foreign = !utf8 && static_cast<unsigned char>(character) >= 0x80;
    if (!quoted && !foreign && !is_control(character)) continue;
    out.append(text.substr(plain, i - plain));
    plain = i + 1;
    out.push_back('\\');
    if (quoted) {
      out.push_back(character);
    } else if (character == '\n') {
      out.push_back('n');
    } else if (character == '\r') {
      out.push_back('r');
    } else if (character == '\t') {
      out.push_back('t');
    } else {
      out.append("u00");
      append_hex(character, out);
    }
  }
  out.append(text.substr(plain));
  out.push_back('"');
}

}  // namespace backplane
