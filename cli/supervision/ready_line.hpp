#pragma once
// What a daemon says when it is ready.

#include <string>
#include <string_view>

namespace backplane::cli {

/// The value of `key` in `ready role=broker name=default ingress=tcp://…`; empty: it has none.
[[nodiscard]] std::string ready_value(std::string_view line, std::string_view key);

}  // namespace backplane::cli
