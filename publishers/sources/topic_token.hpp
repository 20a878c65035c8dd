#pragma once
// Topic tokens made from arbitrary names.

#include <string>
#include <string_view>

namespace backplane::sources {

/// Converts any name to a token of a topic. ASCII letters and digits, `-`, `_` and non-ASCII characters are
/// kept; everything else becomes `_`. "Core 0" → "Core_0"; "" → "_". If the name is not valid UTF-8, or
/// contains white space or control characters beyond ASCII, all non-ASCII bytes become `_`.
[[nodiscard]] std::string topic_token(std::string_view name);

}  // namespace backplane::sources
