#pragma once
// WebSocket frames (RFC 6455) as they are sent to clients: unmasked, which lets all clients share the bytes.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace backplane::gateway::websocket {

enum class Opcode : std::uint8_t { continuation = 0, text = 1, binary = 2, close = 8, ping = 9, pong = 10 };

/// Why a connection ends: the codes that the gateway sends.
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

/// The longest payload of a control frame.
inline constexpr std::size_t control_bytes_max = 125;

/// Whether a close frame may have this code: the codes of RFC 6455 7.4.1 and its registry, and those reserved
/// for libraries and applications.
[[nodiscard]] constexpr bool may_be_sent(std::uint16_t code) noexcept {
  return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
}

/// Appends one final frame, with its length in the shortest form. The payload of a control frame has at most
/// control_bytes_max bytes.
void append_frame(Opcode opcode, std::string_view payload, std::string& out);

/// Appends a close frame. `reason` is cut between characters to fit a control frame.
void append_close(CloseCode code, std::string_view reason, std::string& out);

/// Replaces each line of `out`, from byte `from` on, by a text frame without the LF.
void frame_lines(std::size_t from, std::string& out);

}  // namespace backplane::gateway::websocket
