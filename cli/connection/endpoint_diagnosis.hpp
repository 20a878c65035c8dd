#pragma once
// Why nothing answers.

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "cli/connection/waiter.hpp"
#include "core/error/error.hpp"

namespace backplane::cli {

struct Diagnosis {
  enum class Found : std::uint8_t {
    no_reply,
    other_protocol,  ///< to wait for it is no use
    zeromq,          ///< though perhaps no broker
  };
  std::string text;  ///< `nothing listens there`, `what listens there does not speak ZeroMQ`, …
  Found found{Found::no_reply};
};

/// Looks at a ZeroMQ endpoint that gave no answer, for a person who wonders. Blocks for three seconds at
/// most.
[[nodiscard]] Diagnosis diagnose(const std::string& endpoint, Waiter& waiter);

/// The whole line: `no broker answers at tcp://… within 5 s: nothing listens there`, after a look at the last
/// of the endpoints. Blocks as diagnose() does.
[[nodiscard]] Error no_broker(const std::vector<std::string>& endpoints, std::chrono::milliseconds waited,
                              Waiter& waiter);

/// How long was waited, as such a line has it: whole seconds, at least one.
[[nodiscard]] std::string waited_text(std::chrono::milliseconds waited);

}  // namespace backplane::cli
