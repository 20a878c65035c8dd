#pragma once
// The line that a daemon prints when it is ready.

#include <string>
#include <string_view>

namespace backplane::cli {

/// The value of `key` in a line such as `ready role=broker name=default ingress=tcp://…`; empty if it has
/// none.
[[nodiscard]] std::string ready_value(std::string_view line, std::string_view key);

}  // namespace backplane::cli
