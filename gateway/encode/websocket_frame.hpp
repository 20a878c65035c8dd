#pragma once
// WebSocket's frames (RFC 6455), as they are written to clients: unmasked, so that all share the same bytes.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace backplane::gateway::websocket {

enum class Opcode : std::uint8_t { continuation = 0, text = 1, binary = 2, close = 8, ping = 9, pong = 10 };

/// Why a connection ends, as those that we send.
enum class CloseCode : std::uint16_t {
  normal = 1000,
  going_away = 1001,
  protocol_error = 1002,
  unsupported = 1003,
  not_utf8 = 1007,
  policy = 1008,
  too_large = 1009,
  try_later = 1013,
};

/// A control frame's payload is no longer.
inline constexpr std::size_t control_bytes_max = 125;

/// Whether a close frame may have the code: those of RFC 6455 7.4.1 and of the registry that it begins, and
/// those that libraries and applications may use.
[[nodiscard]] constexpr bool may_be_sent(std::uint16_t code) noexcept {
  return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
}

/// Appends a whole frame with the shortest form of its length. A control frame's payload has at most
/// control_bytes_max bytes.
void append_frame(Opcode opcode, std::string_view payload, std::string& out);

/// Appends a close frame. `reason` is cut, between characters, to what a control frame may have.
void append_close(CloseCode code, std::string_view reason, std::string& out);

/// Makes a text frame of each line that `out` has from `from` on; the lines lose their LF.
void frame_lines(std::size_t from, std::string& out);

}  // namespace backplane::gateway::websocket
