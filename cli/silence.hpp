#pragma once
// Why nobody answers.

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "cli/waiter.hpp"
#include "core/error/error.hpp"

namespace backplane::cli {

struct Silence {
  enum class Found : std::uint8_t {
    nobody,
    something_else,  ///< to wait for it is no use
    zeromq,          ///< though perhaps no broker
  };
  std::string text;  ///< `nothing listens there`, `what listens there does not speak ZeroMQ`, …
  Found found{Found::nobody};
};

/// Looks at a ZeroMQ endpoint that gave no answer, for a person who wonders. Blocks for three seconds at
/// most.
[[nodiscard]] Silence why_silent(const std::string& endpoint, Waiter& waiter);

/// The whole line: `no broker answers at tcp://… within 5 s: nothing listens there`, after a look at the last
/// of the endpoints. Blocks as why_silent() does.
[[nodiscard]] Error no_broker(const std::vector<std::string>& endpoints, std::chrono::milliseconds waited,
                              Waiter& waiter);

/// How long was waited, as such a line has it: whole seconds, at least one.
[[nodiscard]] std::string waited_text(std::chrono::milliseconds waited);

}  // namespace backplane::cli
