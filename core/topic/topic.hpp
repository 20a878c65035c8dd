#pragma once
// Topic names: checking them, and describing what is wrong with them.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace backplane {

/// Longest topic or pattern, in bytes of UTF-8.
inline constexpr std::size_t topic_bytes_max = 255;

/// Topics with this prefix belong to the system: clients can read but not publish them.
inline constexpr std::string_view system_prefix = "$SYS.";

/// Why bytes are not a topic (or, from check_pattern(), not a pattern).
enum class TopicFault : std::uint8_t {
  none,
  empty,                ///< no bytes
  too_long,             ///< above topic_bytes_max
  not_utf8,             ///< bytes that are not UTF-8
  empty_token,          ///< a dot at the beginning, at the end or beside another
  forbidden_character,  ///< white space or a control character: U+0000–20, 7F–9F
  wildcard,             ///< `*` or `>` where it is not allowed
  reserved_first_byte,  ///< begins with one of + - ! { $ (and is not a $SYS. name)
};

/// Checks whether `name` is a topic; `$SYS.` names are. Accepts any bytes; allocates nothing.
[[nodiscard]] TopicFault check_topic(std::string_view name) noexcept;

/// Checks whether `text` is a pattern: a topic in which `*` may replace a token and `>` the last ones.
[[nodiscard]] TopicFault check_pattern(std::string_view text) noexcept;

/// One line for people, for example `a token is empty: "stock..MSFT"`. Bytes that are unsafe for a terminal
/// are escaped; long names are cut.
[[nodiscard]] std::string describe(TopicFault fault, std::string_view name);

/// Whether a topic (already checked) belongs to the system.
[[nodiscard]] inline bool is_system_topic(std::string_view topic) noexcept {
  return topic.starts_with(system_prefix);
}

}  // namespace backplane
