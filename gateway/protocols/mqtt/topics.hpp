#pragma once
// MQTT's topic names and filters as topics and patterns.

#include <string>
#include <string_view>

#include <tl/expected.hpp>

#include "gateway/protocols/mqtt/packets/field_reader.hpp"

namespace backplane::gateway::mqtt {

/// The topic that a topic name stands for: `a/b` is `a.b`. A name with an empty level, with white space, a
/// control character, `.`, `*` or `>`, above 255 bytes, or that begins with a character that topics must not
/// begin with has none; neither have names that begin with `$`, which nobody may publish.
[[nodiscard]] tl::expected<std::string, Fault> topic_of(std::string_view name);

/// The patterns that match what a filter matches.
struct FilterPatterns {
  std::string pattern;
  std::string parent;  ///< for `a/#`, which matches `a` too: `a`. Else empty
  bool operator==(const FilterPatterns&) const = default;
};

/// `a/+/#` is `a.*.>` and `a.*`. Filters are restricted as names are, except that `$SYS/` may begin one. A
/// wildcard in the first level matches no `$SYS` topic in MQTT either.
/// @param filter a valid one (is_filter())
[[nodiscard]] tl::expected<FilterPatterns, Fault> patterns_of(std::string_view filter);

/// Whether a filter matches a topic name, by the rules of MQTT. Both are valid.
[[nodiscard]] bool filter_matches(std::string_view filter, std::string_view name) noexcept;

}  // namespace backplane::gateway::mqtt
