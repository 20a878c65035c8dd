#pragma once
// Why an endpoint does not reply.

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "cli/connection/waiter.hpp"
#include "core/error/error.hpp"

namespace backplane::cli {

/// What was found at a ZeroMQ endpoint. A value.
struct Diagnosis {
  enum class Found : std::uint8_t {
    no_reply,        ///< a broker may come
    other_protocol,  ///< waiting for a broker is pointless
    zeromq,          ///< a ZeroMQ socket, perhaps not of a broker
  };
  std::string text;  ///< `nothing listens there`, `the listener there does not speak ZeroMQ`, …
  Found found{Found::no_reply};
};

/// Connects to a ZeroMQ endpoint that did not reply, to see what is there. Blocks for 3 s at most, or until
/// the waiter is stopped.
[[nodiscard]] Diagnosis diagnose(const std::string& endpoint, Waiter& waiter);

/// The error of a command that found no broker: `cannot reach a broker at tcp://… within 5 s: nothing listens
/// there`. Diagnoses the last of the endpoints, and blocks as diagnose() does.
[[nodiscard]] Error no_broker(const std::vector<std::string>& endpoints, std::chrono::milliseconds waited,
                              Waiter& waiter);

/// A time that was waited, for a message: whole seconds, at least one.
[[nodiscard]] std::string waited_text(std::chrono::milliseconds waited);

}  // namespace backplane::cli
