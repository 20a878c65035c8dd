#pragma once
// One line into one command.

#include <string>
#include <string_view>
#include <variant>

#include "core/topic/pattern.hpp"
#include "fanout/session.hpp"
#include "gateway/encode/encoder.hpp"

namespace backplane::gateway::line {

struct Subscribe {
  Pattern pattern;
  bool last{};
};
struct Unsubscribe {
  std::string pattern;
};
struct Publish {
  std::string topic;
  std::string text;  ///< with its escapes undone
};
struct SetFormat {
  Format format{};
};
struct SetPolicy {
  fanout::Overflow overflow{};
};
struct Ping {};
struct Help {};
struct Quit {};
/// An empty line: nothing is asked, nothing is answered.
struct Nothing {};

/// What a line is not: `-ERR code text`.
struct BadCommand {
  std::string code;
  std::string text;
};

using Command = std::variant<Nothing, Subscribe, Unsubscribe, Publish, SetFormat, SetPolicy, Ping, Help, Quit,
                             BadCommand>;

/// Reads a line (without its end). Any bytes may be given; the text of a BadCommand is one line that a
/// terminal can show.
[[nodiscard]] Command parse_command(std::string_view line);

/// What HELP answers: lines that begin with `+HELP`.
[[nodiscard]] std::string_view help();

}  // namespace backplane::gateway::line
