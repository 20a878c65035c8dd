#include "gateway/commands/line_grammar.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "core/payload/text.hpp"
#include "core/time/duration.hpp"
#include "core/wire/scan.hpp"

namespace backplane::gateway {
namespace {

constexpr std::string_view publish_begins = "PUB ";

constexpr char upper(char c) noexcept {
  return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
}

std::string upper(std::string_view word) {
  std::string result(word);
  for (char& c : result) c = upper(c);
  return result;
}

std::string lower(std::string_view word) {
  std::string result(word);
  for (char& c : result) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return result;
}

BadCommand expected(std::string code, std::string_view what, std::string_view got) {
  return {std::move(code), fmt::format("expected {}, got {}", what, shown(got))};
}

/// Removes the first word from `rest`, and the spaces around it.
std::string_view take_word(std::string_view& rest) {
  rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
  const std::string_view word = rest.substr(0, rest.find(' '));
  rest.remove_prefix(word.size());
  rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
  return word;
}

std::optional<BadCommand> check_bytes(std::string_view line) {
  const bool publishes = is_publish(line);
  for (std::size_t i = 0; i < line.size(); ++i) {
    const auto byte = static_cast<unsigned char>(line[i]);
    if (byte >= 0x20 && byte != 0x7f) continue;
    if (publishes && byte == '\t') continue;  // published text may contain tabs
    return BadCommand{
        "bad_byte",
        fmt::format("expected text without control characters, got byte 0x{:02x} at {}", byte, i)};
  }
  if (wire::is_utf8(line)) return std::nullopt;
  return expected("not_utf8", "UTF-8", line);
}

/// A command without arguments.
template <class T>
Command alone(std::string_view verb, std::string_view rest) {
  if (rest.empty()) return T{};
  return expected("bad_argument", fmt::format("nothing after {}", verb), rest);
}

/// Reads the options every=, since=, policy= and last into `command`. Each may occur once.
class SubscribeOptionsReader {
 public:
  explicit SubscribeOptionsReader(Subscribe& command) : command_(command) {}

  std::optional<BadCommand> take(std::string_view option) {
    const std::size_t equals = option.find('=');
    const std::string key = lower(option.substr(0, equals));
    const auto known = std::find(keys.begin(), keys.end(), key);
    const bool takes_value = known != keys.begin();
    if (known == keys.end() || (equals != std::string_view::npos) != takes_value) {
      return expected("bad_option", "last, every=…, since=… or policy=…", option);
    }
    bool& seen = seen_[static_cast<std::size_t>(known - keys.begin())];
    if (std::exchange(seen, true)) return expected("bad_option", fmt::format("{} only once", key), option);
    if (!takes_value) {
      command_.last = true;
      return std::nullopt;
    }
    const std::string_view value = option.substr(equals + 1);
    if (key == "every") return every(value);
    if (key == "since") return set_since(command_, parse_since(value));
    return policy(value);
  }

 private:
  static constexpr std::array<std::string_view, 4> keys = {"last", "every", "since", "policy"};

  std::optional<BadCommand> every(std::string_view value) {
    const auto duration = parse_duration(value, "every");
    if (!duration)
      return BadCommand{"bad_every", "expected 1ms to 24h (such as every=5s), got " + shown(value)};
    return set_every(command_, *duration, value);
  }

  std::optional<BadCommand> policy(std::string_view value) {
    command_.policy = parse_policy(lower(value));
    if (command_.policy) return std::nullopt;
    return expected("bad_policy", "gap, latest or disconnect", value);
  }

  Subscribe& command_;
  std::array<bool, keys.size()> seen_{};
};

Command parse_subscribe(std::string_view rest) {
  const std::string_view pattern = take_word(rest);
  if (pattern.empty()) {
    return BadCommand{
        "bad_argument",
        "expected SUB <pattern> [every=5s] [last] [since=10m] [policy=latest] (such as SUB stock.>)"};
  }
  auto parsed = Pattern::parse(pattern);
  if (!parsed) return BadCommand{"bad_topic", std::move(parsed.error().text)};
  Subscribe command{.pattern = std::move(*parsed), .since = {}, .policy = {}};
  SubscribeOptionsReader options(command);
  while (!rest.empty()) {
    if (auto bad = options.take(take_word(rest))) return *std::move(bad);
  }
  return command;
}

Command parse_unsubscribe(std::string_view rest) {
  const std::string_view pattern = take_word(rest);
  if (pattern.empty()) return BadCommand{"bad_argument", "expected UNSUB <pattern> (such as UNSUB stock.>)"};
  if (!rest.empty()) return expected("bad_argument", "nothing after the pattern", rest);
  if (auto bad = check_pattern_text(pattern)) return *std::move(bad);
  return Unsubscribe{std::string(pattern)};
}

Command parse_topics(std::string_view rest) {
  const std::string_view pattern = take_word(rest);
  if (!rest.empty()) return expected("bad_argument", "nothing after the pattern", rest);
  if (pattern.empty()) return ListTopics{">"};
  if (auto bad = check_pattern_text(pattern)) return *std::move(bad);
  return ListTopics{std::string(pattern)};
}

Command parse_publish(std::string_view rest) {
  const std::size_t space = rest.find(' ');
  if (rest.empty() || space == std::string_view::npos) {
    return BadCommand{"bad_argument", "expected PUB <topic> <text> (such as PUB news.uk Hello)"};
  }
  const std::string_view topic = rest.substr(0, space);
  if (auto bad = check_published(topic)) return *std::move(bad);
  return Publish{std::string(topic), unescape(rest.substr(space + 1))};
}

Command parse_authenticate(std::string_view rest) {
  const std::string_view token = take_word(rest);
  if (!rest.empty())
    return BadCommand{"bad_argument", "expected AUTH <name>:<secret>, got more than one word"};
  if (auto bad = check_sent_token(token)) return *std::move(bad);
  return Authenticate{std::string(token)};
}

Command parse_format_command(std::string_view rest) {
  if (const auto format = parse_format(lower(rest))) return SetFormat{*format};
  return expected("bad_format", "text, text+offset, json or proto", rest);
}

Command parse_policy_command(std::string_view rest) {
  if (const auto policy = parse_policy(lower(rest))) return SetPolicy{*policy};
  return expected("bad_policy", "gap, latest or disconnect", rest);
}

}  // namespace

bool may_be_publish(std::string_view beginning) noexcept {
  beginning = beginning.substr(0, publish_begins.size());
  return std::equal(beginning.begin(), beginning.end(), publish_begins.begin(),
                    [](char c, char of_pub) { return upper(c) == of_pub; });
}

bool is_publish(std::string_view line) noexcept {
  return line.size() >= publish_begins.size() && may_be_publish(line);
}

Command parse_line(std::string_view line) {
  if (line.find_first_not_of(' ') == std::string_view::npos) return Nothing{};
  constexpr std::size_t verb_bytes_max = 16;
  const std::string_view typed = line.substr(0, line.find(' '));
  const std::string verb = upper(typed.substr(0, verb_bytes_max));
  std::string_view rest = line.substr(typed.size());
  if (verb == "AUTH") return parse_authenticate(rest);  // first: other errors show what was sent
  if (auto bad = check_bytes(line)) return *std::move(bad);
  if (verb == "PUB") return parse_publish(rest.empty() ? rest : rest.substr(1));
  rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
  rest = rest.substr(0, rest.find_last_not_of(' ') + 1);
  if (verb == "SUB") return parse_subscribe(rest);
  if (verb == "UNSUB") return parse_unsubscribe(rest);
  if (verb == "FORMAT") return parse_format_command(rest);
  if (verb == "POLICY") return parse_policy_command(rest);
  if (verb == "TOPICS") return parse_topics(rest);
  if (verb == "POSITION") return alone<ReportPosition>(verb, rest);
  if (verb == "PING") return alone<Ping>(verb, rest);
  if (verb == "HELP") return alone<Help>(verb, rest);
  if (verb == "QUIT") return alone<Quit>(verb, rest);
  return expected("unknown_command",
                  "one of SUB, UNSUB, PUB, AUTH, FORMAT, POLICY, TOPICS, POSITION, PING, HELP, QUIT", typed);
}

std::string_view help_lines() {
  return "+HELP SUB <pattern> [options]    subscribe to all topics that match: SUB stock.>\n"
         "+HELP     * matches one token, > at the end matches one or more: SUB *.uk\n"
         "+HELP     every=<duration>       the latest event of each topic per interval: SUB clock every=5s\n"
         "+HELP     last                   the latest event of each topic first: SUB stock.> last\n"
         "+HELP     since=<duration>       history of that time first: SUB news.> since=10m\n"
         "+HELP     since=<offset>         history after an offset first, of one topic: SUB news.uk "
         "since=17\n"
         "+HELP     since=<token>          history after a token first: SUB > since=00c0ffee0000002a:9\n"
         "+HELP     policy=<policy>        same as POLICY: SUB stock.> policy=latest\n"
         "+HELP UNSUB <pattern>            unsubscribe: UNSUB stock.>\n"
         "+HELP PUB <topic> <text>         publish a line of text: PUB news.uk Hello\n"
         "+HELP AUTH <name>:<secret>       say who you are, if the gateway has a policy\n"
         "+HELP FORMAT <format>            set the format of events: text, text+offset, json or proto\n"
         "+HELP POLICY <policy>            what happens if you read too slowly: gap, latest or disconnect\n"
         "+HELP TOPICS [<pattern>]         list topics with last offset, bytes and age: TOPICS stock.>\n"
         "+HELP POSITION                   a token before which you have everything: for since=<token>\n"
         "+HELP PING                       reply with +PONG\n"
         "+HELP QUIT                       close the connection\n";
}

}  // namespace backplane::gateway
