#include "gateway/protocols/line/command.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "core/log/escape.hpp"
#include "core/topic/topic.hpp"
#include "core/wire/scan.hpp"
#include "gateway/encode/text.hpp"

namespace backplane::gateway::line {
namespace {

// So much of what was sent is shown in an answer.
constexpr std::size_t shown_bytes_max = 64;

std::string shown(std::string_view text) {
  const bool cut = text.size() > shown_bytes_max;
  return fmt::format("\"{}{}\"", log::escape(text.substr(0, shown_bytes_max)), cut ? "…" : "");
}

BadCommand wanted(std::string code, std::string_view what, std::string_view got) {
  return {std::move(code), fmt::format("wanted {}, got {}", what, shown(got))};
}

/// Takes the first word off `rest`, and the spaces around it.
std::string_view take_word(std::string_view& rest) {
  rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
  const std::string_view word = rest.substr(0, rest.find(' '));
  rest.remove_prefix(word.size());
  rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
  return word;
}

std::optional<BadCommand> check_bytes(std::string_view line) {
  const bool publishes = line.starts_with("PUB ");
  for (std::size_t i = 0; i < line.size(); ++i) {
    const auto byte = static_cast<unsigned char>(line[i]);
    if (byte >= 0x20 && byte != 0x7f) continue;
    if (publishes && byte == '\t') continue;  // text that is published may have tabs as they are
    return BadCommand{
        "bad_byte", fmt::format("wanted text without control characters, got byte 0x{:02x} at {}", byte, i)};
  }
  if (wire::is_utf8(line)) return std::nullopt;
  return wanted("not_utf8", "UTF-8", line);
}

/// For commands that take nothing behind them.
template <class T>
Command alone(std::string_view verb, std::string_view rest) {
  if (rest.empty()) return T{};
  return wanted("bad_argument", fmt::format("nothing behind {}", verb), rest);
}

Command parse_subscribe(std::string_view rest) {
  const std::string_view pattern = take_word(rest);
  if (pattern.empty()) return BadCommand{"bad_argument", "wanted SUB <pattern> [last], as SUB stock.>"};
  auto parsed = Pattern::parse(pattern);
  if (!parsed) return BadCommand{"bad_topic", parsed.error().text};
  Subscribe command{std::move(*parsed)};
  while (!rest.empty()) {
    const std::string_view option = take_word(rest);
    if (option == "last") {
      command.last = true;
    } else if (option.starts_with("every=") || option.starts_with("since=")) {
      return BadCommand{"unsupported", fmt::format("this gateway has no {} yet: wanted last, got {}",
                                                   option.substr(0, option.find('=')), shown(option))};
    } else if (option.starts_with("policy=")) {
      return BadCommand{"unsupported", "the policy is the session's: wanted POLICY gap or POLICY disconnect"};
    } else {
      return wanted("bad_option", "last", option);
    }
  }
  return command;
}

Command parse_unsubscribe(std::string_view rest) {
  const std::string_view pattern = take_word(rest);
  if (pattern.empty()) return BadCommand{"bad_argument", "wanted UNSUB <pattern>, as UNSUB stock.>"};
  if (!rest.empty()) return wanted("bad_argument", "nothing behind the pattern", rest);
  if (const TopicFault fault = check_pattern(pattern); fault != TopicFault::none) {
    return BadCommand{"bad_topic", describe(fault, pattern)};
  }
  return Unsubscribe{std::string(pattern)};
}

Command parse_publish(std::string_view rest) {
  const std::size_t space = rest.find(' ');
  if (rest.empty() || space == std::string_view::npos) {
    return BadCommand{"bad_argument", "wanted PUB <topic> <text>, as PUB news.uk Hello"};
  }
  const std::string_view topic = rest.substr(0, space);
  if (const TopicFault fault = check_topic(topic); fault != TopicFault::none) {
    return BadCommand{"bad_topic", describe(fault, topic)};
  }
  if (is_system_topic(topic)) {
    return BadCommand{"bad_topic",
                      fmt::format("topics of the system can be read, not published: {}", shown(topic))};
  }
  return Publish{std::string(topic), unescape(rest.substr(space + 1))};
}

Command parse_format_command(std::string_view rest) {
  if (const auto format = parse_format(rest)) return SetFormat{*format};
  if (rest == "proto")
    return BadCommand{"unsupported",
                      "this gateway has no format proto yet: wanted text, text+offset or json"};
  return wanted("bad_format", "text, text+offset or json", rest);
}

Command parse_policy(std::string_view rest) {
  if (rest == "gap") return SetPolicy{fanout::Overflow::drop_oldest};
  if (rest == "disconnect") return SetPolicy{fanout::Overflow::disconnect};
  if (rest == "latest")
    return BadCommand{"unsupported", "this gateway has no policy latest yet: wanted gap or disconnect"};
  return wanted("bad_policy", "gap or disconnect", rest);
}

}  // namespace

Command parse_command(std::string_view line) {
  if (line.find_first_not_of(' ') == std::string_view::npos) return Nothing{};
  if (auto bad = check_bytes(line)) return *std::move(bad);
  const std::string_view verb = line.substr(0, line.find(' '));
  std::string_view rest = line.substr(verb.size());
  if (verb == "PUB") return parse_publish(rest.empty() ? rest : rest.substr(1));
  rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
  rest = rest.substr(0, rest.find_last_not_of(' ') + 1);
  if (verb == "SUB") return parse_subscribe(rest);
  if (verb == "UNSUB") return parse_unsubscribe(rest);
  if (verb == "FORMAT") return parse_format_command(rest);
  if (verb == "POLICY") return parse_policy(rest);
  if (verb == "PING") return alone<Ping>(verb, rest);
  if (verb == "HELP") return alone<Help>(verb, rest);
  if (verb == "QUIT") return alone<Quit>(verb, rest);
  return wanted("unknown_command", "one of SUB, UNSUB, PUB, FORMAT, POLICY, PING, HELP, QUIT", verb);
}

std::string_view help() {
  return "+HELP SUB <pattern> [last]      events of matching topics, with `last` the latest of each first: "
         "SUB stock.>\n"
         "+HELP                           in a pattern * is any one token, > at the end is one or more: SUB "
         "*.uk last\n"
         "+HELP UNSUB <pattern>           no more of them: UNSUB stock.>\n"
         "+HELP PUB <topic> <text>        publish a line of text: PUB news.uk Hello\n"
         "+HELP FORMAT <format>           how events are written, text, text+offset or json: FORMAT json\n"
         "+HELP POLICY <policy>           what happens when you read too slowly, gap or disconnect: POLICY "
         "gap\n"
         "+HELP PING                      answers +PONG\n"
         "+HELP QUIT                      ends the connection\n";
}

}  // namespace backplane::gateway::line
