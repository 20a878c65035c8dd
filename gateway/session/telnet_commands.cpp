#include "gateway/session/telnet_commands.hpp"

#include <algorithm>
#include <utility>

namespace backplane::gateway {
namespace {

// RFC 854. Below the first one (RFC 1184) there are no commands.
constexpr unsigned char first_command = 236;
constexpr unsigned char se = 240;
constexpr unsigned char sb = 250;
constexpr unsigned char verb_will = 251;
constexpr unsigned char verb_wont = 252;
constexpr unsigned char verb_do = 253;
constexpr unsigned char verb_dont = 254;

}  // namespace

/// @returns whether the byte was taken.
bool TelnetCommands::take_command(unsigned char byte) {
  if (byte < first_command) return false;
  if (byte == sb) {
    state_ = State::parameters;
  } else if (byte >= verb_will && byte <= verb_dont) {
    state_ = State::option;
    verb_ = static_cast<char>(byte);
  } else {
    state_ = State::none;
  }
  return true;
}

bool TelnetCommands::take(std::string_view& bytes) {
  while (!bytes.empty() && inside()) {
    if (state_ == State::parameters) {
      bytes.remove_prefix(std::min(bytes.find(iac), bytes.size()));
      if (bytes.empty()) break;
      bytes.remove_prefix(1);
      state_ = State::parameters_iac;
      continue;
    }
    const auto byte = static_cast<unsigned char>(bytes.front());
    const bool escaped = bytes.front() == iac;
    if (state_ == State::command && (escaped || byte < first_command)) {
      state_ = State::none;
      if (escaped) bytes.remove_prefix(1);
      return true;
    }
    bytes.remove_prefix(1);
    if (state_ == State::option) {
      // A WONT or DONT needs no answer: every option is off.
      const auto verb = static_cast<unsigned char>(verb_);
      if (verb == verb_will || verb == verb_do) {
        replies_ +=
            {iac, static_cast<char>(verb == verb_will ? verb_dont : verb_wont), static_cast<char>(byte)};
      }
      state_ = State::none;
    } else if (state_ == State::parameters_iac && escaped) {
      state_ = State::parameters;
    } else if (state_ == State::parameters_iac && byte == se) {
      state_ = State::none;
    } else if (!take_command(byte)) {
      state_ = State::none;  // the parameters end without their end
    }
  }
  return false;
}

std::string TelnetCommands::take_replies() noexcept {
  return std::exchange(replies_, {});
}

}  // namespace backplane::gateway
