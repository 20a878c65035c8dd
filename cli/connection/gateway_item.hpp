#pragma once
// The messages that a gateway sends.

#include <cstdint>
#include <string>
#include <string_view>

#include "core/error/error.hpp"

namespace backplane::cli {

/// One line (of a session in FORMAT json) or one message (in FORMAT proto). A value.
struct GatewayItem {
  enum class Kind : std::uint8_t { event, gap, reset, ok, error, wait, live, bye, other };
  enum class Payload : std::uint8_t { none, data, text, base64 };

  Kind kind{Kind::other};
  std::string topic;  ///< of an event, a gap or a reset
  std::uint64_t stream{};
  std::uint64_t position{};
  std::uint64_t offset{};
  // Of a gap.
  std::uint64_t first{};
  std::uint64_t last{};
  std::string reason;
  // Of an event that was read from a line.
  Payload payload{Payload::none};
  std::string body;  ///< JSON, text or base64
  /// The rest of the line, for ok, error, wait, live and bye.
  std::string text;
};

/// Parses a line. @returns an error if a gateway sends no such line.
[[nodiscard]] Result<GatewayItem> parse_gateway_line(std::string_view line);
/// Parses a serialised backplane.v1.ServerMessage, without an event's payload.
[[nodiscard]] Result<GatewayItem> parse_gateway_message(std::string_view bytes);

}  // namespace backplane::cli
