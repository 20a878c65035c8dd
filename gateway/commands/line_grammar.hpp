#pragma once
// The text grammar: one line is one command.

#include <string_view>

#include "gateway/commands/command.hpp"

namespace backplane::gateway {

/// Parses a line without its line end. Any bytes are safe; the text of a BadCommand is one line that a
/// terminal can display.
[[nodiscard]] Command parse_line(std::string_view line);

/// The reply to HELP: lines that begin with `+HELP`.
[[nodiscard]] std::string_view help_lines();

}  // namespace backplane::gateway
