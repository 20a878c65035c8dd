#pragma once
// Names of topics, and whether a name is one.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace backplane {

/// Longest topic or pattern, in bytes of UTF-8.
inline constexpr std::size_t topic_bytes_max = 255;

/// Topics that begin so belong to the system: readable, not publishable.
inline constexpr std::string_view system_prefix = "$SYS.";

/// Why bytes are not a topic (or, from check_pattern, not a pattern).
enum class TopicFault : std::uint8_t {
  none,
  empty,                ///< no bytes at all
  too_long,             ///< above topic_bytes_max
  not_utf8,             ///< bytes that are not UTF-8
  empty_token,          ///< a dot first, last or beside another
  forbidden_character,  ///< white space or a control character: U+0000–20, 7F–9F
  wildcard,             ///< `*` or `>` where none may stand
  reserved_first_byte,  ///< begins with one of + - ! { $ (and is not a $SYS. name)
};

/// Whether `name` can be a topic, `$SYS.` names included. Allocates nothing; any bytes may be given.
[[nodiscard]] TopicFault check_topic(std::string_view name) noexcept;

/// Whether `text` can be a pattern: a topic in which `*` may stand for a token and `>` for the last ones.
[[nodiscard]] TopicFault check_pattern(std::string_view text) noexcept;

/// One line for a person, for example `a token is empty: "stock..MSFT"`. Bytes that a terminal
/// must not see are escaped, long names cut.
[[nodiscard]] std::string describe(TopicFault fault, std::string_view name);

/// Whether a topic (already checked) is one of the system's own.
[[nodiscard]] inline bool is_system_topic(std::string_view topic) noexcept {
  return topic.starts_with(system_prefix);
}

}  // namespace backplane
