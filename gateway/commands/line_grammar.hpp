#pragma once
// One line into one command.

#include <string_view>

#include "gateway/commands/command.hpp"

namespace backplane::gateway {

/// Reads a line (without its end). Any bytes may be given; the text of a BadCommand is one line that a
/// terminal can show.
[[nodiscard]] Command parse_line(std::string_view line);

/// What HELP answers: lines that begin with `+HELP`.
[[nodiscard]] std::string_view help_lines();

}  // namespace backplane::gateway
