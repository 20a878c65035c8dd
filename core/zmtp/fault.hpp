#pragma once
// Why a connection cannot continue.

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace backplane::zmtp {

/// What a peer did wrong. After a fault, the connection must be closed: where the next frame begins is
/// unknown, or the peer breaks the protocol. docs/zmtp.md has a table of the faults.
enum class Fault : std::uint8_t {
  none,
  bad_greeting,        ///< not a greeting: a wrong signature, or a server where a client is expected
  old_version,         ///< ZMTP 1.0, or a revision that never was
  bad_mechanism,       ///< a security mechanism that is not accepted, or is none
  bad_frame,           ///< flags that do not exist, or a command with ZMTP 2.0
  frame_too_long,      ///< Limits::frame_bytes_max
  message_too_long,    ///< Limits::message_bytes_max
  too_many_frames,     ///< Limits::frames_max
  command_too_long,    ///< Limits::command_bytes_max
  bad_command,         ///< a command that does not scan
  unexpected_command,  ///< a command, or a message, in the wrong state
  bad_socket_type,     ///< no socket type, or one that is not accepted
  unexpected_message,  ///< a message that the peer's socket type does not send
  bad_subscription,    ///< not one frame that begins with 0 or 1, or a prefix that is too long
  bad_box,             ///< CURVE: bytes that do not decrypt, or the wrong keys
  repeated_nonce,      ///< CURVE: a nonce that is not above the one before
  not_authenticated,   ///< the credentials were refused
  refused_by_peer,     ///< the peer sent an ERROR
};

inline constexpr std::array<std::string_view, 18> fault_names = {"none",
                                                                 "bad_greeting",
                                                                 "old_version",
                                                                 "bad_mechanism",
                                                                 "bad_frame",
                                                                 "frame_too_long",
                                                                 "message_too_long",
                                                                 "too_many_frames",
                                                                 "command_too_long",
                                                                 "bad_command",
                                                                 "unexpected_command",
                                                                 "bad_socket_type",
                                                                 "unexpected_message",
                                                                 "bad_subscription",
                                                                 "bad_box",
                                                                 "repeated_nonce",
                                                                 "not_authenticated",
                                                                 "refused_by_peer"};

/// The fault as one word, as in metrics and logs: "bad_greeting", …
[[nodiscard]] constexpr std::string_view name(Fault fault) noexcept {
  return fault_names[static_cast<std::size_t>(fault)];
}

}  // namespace backplane::zmtp
