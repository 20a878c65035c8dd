#pragma once
// Why an endpoint does not reply.

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/connection/waiter.hpp"
#include "core/error/error.hpp"

namespace backplane::cli {

/// What was found at a ZeroMQ endpoint. A value.
struct Diagnosis {
  enum class Found : std::uint8_t {
    no_reply,        ///< something may be there, and may reply
    unreachable,     ///< nothing listens there, or there is no such host
    other_protocol,  ///< waiting for a broker is pointless
    zeromq,          ///< a ZeroMQ socket, perhaps not of a broker
  };
  std::string text;  ///< `nothing listens there`, `the listener there does not speak ZeroMQ`, …
  Found found{Found::no_reply};
};

/// Connects to a ZeroMQ endpoint that did not reply, to see what is there. Blocks for 3 s at most, or until
/// the waiter is stopped.
[[nodiscard]] Diagnosis diagnose(const std::string& endpoint, Waiter& waiter);

/// A running broker accepts a connection within this time. Without one, a command looks whether anything
/// listens at the endpoints, to report at once that nothing does.
inline constexpr std::chrono::milliseconds refusal_patience{200};

/// The error of a command that found no broker: `cannot reach a broker at tcp://… within 5 s: the listener
/// there sends nothing`. Diagnoses all of the endpoints, and blocks as diagnose() does for each.
[[nodiscard]] Error no_broker(const std::vector<std::string>& endpoints, std::chrono::milliseconds waited,
                              Waiter& waiter);

/// The error of a command that needs a broker now, if nothing listens at any of the endpoints: `cannot reach
/// a broker at tcp://…: nothing listens there`. Stops at the first endpoint at which there may be a broker.
[[nodiscard]] std::optional<Error> nothing_listens(const std::vector<std::string>& endpoints, Waiter& waiter);

/// What was found at some endpoints, for a message: `at tcp://…: nothing listens there`, or each endpoint
/// with its own reason.
[[nodiscard]] std::string found_text(const std::vector<std::string>& endpoints,
                                     const std::vector<Diagnosis>& diagnoses, std::string_view within = "");

/// A time that was waited, for a message: whole seconds, at least one.
[[nodiscard]] std::string waited_text(std::chrono::milliseconds waited);

}  // namespace backplane::cli
