#pragma once
// Topics made of names that come from outside.

#include <string>
#include <string_view>

namespace backplane::sources {

/// A token of a topic from any name: letters, digits, `-` and `_` of ASCII and whatever lies beyond ASCII
/// stay, everything else becomes `_`. "Core 0" → "Core_0"; "" → "_"; what is not UTF-8 loses what is beyond.
[[nodiscard]] std::string topic_token(std::string_view name);

}  // namespace backplane::sources
