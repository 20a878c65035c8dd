#include "core/topic/topic.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "core/log/escape.hpp"
#include "core/wire/scan.hpp"

namespace backplane {
namespace {

// Classes of bytes, as bits, so that one pass can collect what a name contains.
enum ByteClass : std::uint8_t {
  ordinary = 0,
  dot = 1,
  forbidden = 2,
  wild = 4,
  high = 8,  // not ASCII: depends on the whole character
};

constexpr std::array<std::uint8_t, 256> byte_classes = [] {
  std::array<std::uint8_t, 256> classes{};
  for (std::size_t byte = 0; byte <= 0x20; ++byte) classes[byte] = forbidden;
  classes[0x7f] = forbidden;
  for (std::size_t byte = 0x80; byte < classes.size(); ++byte) classes[byte] = high;
  classes['.'] = dot;
  classes['*'] = wild;
  classes['>'] = wild;
  return classes;
}();

constexpr std::uint8_t class_of(char c) {
  return byte_classes[static_cast<unsigned char>(c)];
}

bool first_byte_is_reserved(std::string_view name) {
  switch (name.front()) {
    case '+':
    case '-':
    case '!':
    case '{':
      return true;
    case '$':
      return !is_system_topic(name);
    default:
      return false;
  }
}

// U+0080 to U+009F are the bytes C2 80 to C2 9F.
bool is_c1_control(std::string_view utf8, std::size_t at) {
  return utf8[at] == '\xC2' && static_cast<unsigned char>(utf8[at + 1]) <= 0x9f;
}

enum class Wildcards : std::uint8_t { none, whole_tokens };

TopicFault check_token(std::string_view token, bool last, Wildcards wildcards) {
  if (token.empty()) return TopicFault::empty_token;
  if (wildcards == Wildcards::whole_tokens && (token == "*" || (token == ">" && last))) {
    return TopicFault::none;
  }
  for (std::size_t at = 0; at < token.size(); ++at) {
    const std::uint8_t kind = class_of(token[at]);
    if (kind == wild) return TopicFault::wildcard;
    if (kind == forbidden || (kind == high && is_c1_control(token, at))) {
      return TopicFault::forbidden_character;
    }
  }
  return TopicFault::none;
}

// The complete check, for names that do not pass the fast path, and for patterns. Finds the first fault in
// the text, except that invalid UTF-8 is reported before any other.
TopicFault check_in_full(std::string_view name, Wildcards wildcards) {
  if (name.empty()) return TopicFault::empty;
  if (name.size() > topic_bytes_max) return TopicFault::too_long;
  if (!wire::is_utf8(name)) return TopicFault::not_utf8;
  if (first_byte_is_reserved(name)) return TopicFault::reserved_first_byte;
  for (std::size_t begin = 0;;) {
    const std::size_t end = std::min(name.find('.', begin), name.size());
    const bool last = end == name.size();
    const TopicFault fault = check_token(name.substr(begin, end - begin), last, wildcards);
    if (fault != TopicFault::none || last) return fault;
    begin = end + 1;
  }
}

// Enough to recognise a name, and short enough for one log line.
constexpr std::size_t shown_bytes_max = 80;

std::string quoted(std::string_view name) {
  std::size_t shown = std::min(name.size(), shown_bytes_max);
  // A cut within a character would show its bytes as invalid UTF-8.
  for (int back = 0; shown < name.size() && back < 3; ++back) {
    if ((static_cast<unsigned char>(name[shown]) & 0xc0U) != 0x80) break;
    --shown;
  }
  return fmt::format("\"{}{}\"", log::escape(name.substr(0, shown)), shown < name.size() ? "…" : "");
}

}  // namespace

TopicFault check_topic(std::string_view name) noexcept {
  // Every event passes here, and nearly all names are short ASCII. One pass without branches collects what
  // the name contains, and only names that are not plainly good are checked in full.
  if (name.empty() || name.size() > topic_bytes_max) return check_in_full(name, Wildcards::none);
  std::uint8_t seen = 0;
  std::uint8_t before = dot;  // so that a dot at the beginning counts as beside another
  std::uint8_t adjacent = 0;
  for (const char c : name) {
    const std::uint8_t kind = class_of(c);
    seen = static_cast<std::uint8_t>(seen | kind);
    adjacent = static_cast<std::uint8_t>(adjacent | (before & kind & dot));
    before = kind;
  }
  const bool plain = (seen & ~dot) == 0 && adjacent == 0 && before != dot;
  if (plain && !first_byte_is_reserved(name)) return TopicFault::none;
  return check_in_full(name, Wildcards::none);
}

TopicFault check_pattern(std::string_view text) noexcept {
  return check_in_full(text, Wildcards::whole_tokens);
}

std::string describe(TopicFault fault, std::string_view name) {
  switch (fault) {
    case TopicFault::none:
      return fmt::format("nothing is wrong: {}", quoted(name));
    case TopicFault::empty:
      return fmt::format("expected a name of 1 to {} bytes, got an empty one", topic_bytes_max);
    case TopicFault::too_long:
      return fmt::format("expected a name of 1 to {} bytes, got {} bytes: {}", topic_bytes_max, name.size(),
                         quoted(name));
    case TopicFault::not_utf8:
      return fmt::format("not UTF-8: {}", quoted(name));
    case TopicFault::empty_token:
      return fmt::format("a token is empty: {}", quoted(name));
    case TopicFault::forbidden_character:
      return fmt::format("white space or a control character: {}", quoted(name));
    case TopicFault::wildcard:
      return fmt::format("* and > are for patterns only, each as a whole token, and > as the last: {}",
                         quoted(name));
    case TopicFault::reserved_first_byte:
      return fmt::format("must not begin with + - ! {{ or $ (except $SYS.): {}", quoted(name));
  }
  return "unknown fault";
}

}  // namespace backplane
