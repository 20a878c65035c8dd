#include "gateway/encode/text.hpp"

#include <cstddef>
#include <cstdint>

#include "core/wire/scan.hpp"

namespace backplane::gateway {
namespace {

constexpr std::string_view hex_digits = "0123456789abcdef";

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
  std::size_t plain = 0;  // where the stretch begins that needs no escape
  for (std::size_t i = 0; i < text.size(); ++i) {
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

// Written here because the only implementations at hand are internal to their libraries: protobuf's
// lies in a header that later versions no longer install, Boost's in Beast's detail namespace.
void append_base64(std::string_view bytes, std::string& out) {
  constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  out.reserve(out.size() + (bytes.size() + 2) / 3 * 4);
  while (!bytes.empty()) {
    std::uint32_t group = 0;
    for (std::size_t i = 0; i < 3; ++i) {
      group = group << 8 | (i < bytes.size() ? static_cast<unsigned char>(bytes[i]) : 0u);
    }
    for (std::size_t i = 0; i < 4; ++i) {
      out.push_back(i <= bytes.size() ? digits[group >> (18 - 6 * i) & 0x3f] : '=');
    }
    bytes.remove_prefix(bytes.size() < 3 ? bytes.size() : 3);
  }
}

void append_json_string(std::string_view text, std::string& out) {
  const bool utf8 = wire::is_utf8(text);
  out.push_back('"');
  std::size_t plain = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
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

}  // namespace backplane::gateway
