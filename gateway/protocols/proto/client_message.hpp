#pragma once
// One ClientMessage into one command.

#include <string_view>

#include "gateway/commands/command.hpp"

namespace backplane::gateway::proto {

/// Reads a serialised backplane.v1.ClientMessage. Any bytes may be given; what may be asked for, and the
/// codes of what is wrong, are the line protocol's, and `malformed` for bytes that are no ClientMessage or
/// have no command.
[[nodiscard]] Command parse_message(std::string_view message);

}  // namespace backplane::gateway::proto
