#pragma once
// The text grammar: one line is one command.

#include <string_view>

#include "gateway/commands/command.hpp"

namespace backplane::gateway {

/// Whether `beginning`, of a line, is a PUB or may become one. A PUB may be as long as an event.
[[nodiscard]] bool may_be_publish(std::string_view beginning) noexcept;
[[nodiscard]] bool is_publish(std::string_view line) noexcept;

/// Parses a line without its line end. The case of commands and options does not matter. Any bytes are safe;
/// the text of a BadCommand is one line that a terminal can display.
[[nodiscard]] Command parse_line(std::string_view line);

/// The reply to HELP: lines that begin with `+HELP`.
[[nodiscard]] std::string_view help_lines();

}  // namespace backplane::gateway
