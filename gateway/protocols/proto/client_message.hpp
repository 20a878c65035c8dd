#pragma once
// One ClientMessage is one command.

#include <string_view>

#include "gateway/commands/command.hpp"

namespace backplane::gateway::proto {

/// Parses a serialised backplane.v1.ClientMessage. Any bytes are safe. Limits and error codes are those of
/// the line protocol; `malformed` means that the bytes are not a ClientMessage, or contain no command.
[[nodiscard]] Command parse_message(std::string_view message);

}  // namespace backplane::gateway::proto
