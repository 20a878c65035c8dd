#pragma once
// Makes text from outside safe for a terminal or a log line.

#include <string>
#include <string_view>

namespace backplane::log {

/// Escapes control characters (U+0000–1F, 7F–9F) as \n, \r, \t or \xNN, a backslash as \\, and bytes that are
/// not UTF-8 as \xNN. Accepts any bytes; the result is one line of UTF-8.
[[nodiscard]] std::string escape(std::string_view text);

}  // namespace backplane::log
