#pragma once
// Telnet's commands within lines of text.

#include <cstdint>
#include <string>
#include <string_view>

namespace backplane::gateway {

/// Reads the commands that a telnet client sends between its lines (RFC 854), and refuses every option that
/// it offers or requests, as a server without options does. A command begins with the byte IAC, 255, which is
/// never part of UTF-8. Belongs to one session; keeps no bytes of the client.
class TelnetCommands {
 public:
  static constexpr char iac = '\xff';

  /// Called after an IAC.
  void begin() noexcept { state_ = State::command; }
  /// Whether a command has begun and is incomplete. take() reads on.
  [[nodiscard]] bool inside() const noexcept { return state_ != State::none; }
  /// Removes the next bytes of the command from `bytes`. @returns whether the IAC was data: an escaped IAC,
  /// or followed by no command. The bytes after it are then still in `bytes`.
  [[nodiscard]] bool take(std::string_view& bytes);

  /// What to send to the client, since the last call: 3 bytes for each option, refusing it.
  [[nodiscard]] std::string take_replies() noexcept;

 private:
  enum class State : std::uint8_t { none, command, option, parameters, parameters_iac };

  bool take_command(unsigned char byte);

  State state_{State::none};
  char verb_{};
  std::string replies_;
};

}  // namespace backplane::gateway
