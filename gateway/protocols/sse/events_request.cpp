#include "gateway/protocols/sse/events_request.hpp"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include <fmt/format.h>

#include "gateway/commands/line_grammar.hpp"
#include "gateway/protocols/http/uri.hpp"

namespace backplane::gateway::sse {
namespace {

tl::unexpected<BadCommand> bad(std::string code, std::string text) {
  return tl::unexpected(BadCommand{std::move(code), std::move(text)});
}

/// What would be two words in a line.
bool is_word(std::string_view text) {
  return std::none_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) <= 0x20; });
}

struct Asked {
  std::vector<std::string> topics;
  std::string options;  ///< as SUB has them
  std::string token;
  bool last{};
};

tl::expected<Asked, BadCommand> read_query(const http::Parameters& parameters) {
  Asked asked;
  for (const auto& [name, value] : parameters) {
    if (name == "topic") {
      if (!is_word(value) || value.empty()) return bad("bad_topic", "wanted a pattern, got " + shown(value));
      if (std::find(asked.topics.begin(), asked.topics.end(), value) == asked.topics.end()) {
        asked.topics.push_back(value);
      }
    } else if (name == "last") {
      if (!value.empty() && value != "1" && value != "true") {
        return bad("bad_option", "wanted last without a value, got " + shown(value));
      }
      asked.last = true;
    } else if (name == "last_event_id") {
      asked.token = value;
    } else if ((name == "since" || name == "every" || name == "policy") && is_word(value)) {
      asked.options += fmt::format(" {}={}", name, value);
    } else {
      return bad("bad_option",
                 fmt::format("wanted topic=, last, since=, every=, policy= or last_event_id=, got {}",
                             shown(fmt::format("{}={}", name, value))));
    }
  }
  return asked;
}

}  // namespace

tl::expected<std::vector<Subscribe>, BadCommand> read_events_request(const http::Request& request) {
  const auto parameters = http::parse_query(request.query);
  if (!parameters) return bad("bad_argument", "wanted a query whose escapes are %xx");
  auto asked = read_query(*parameters);
  if (!asked) return tl::unexpected(std::move(asked.error()));
  if (asked->topics.empty()) return bad("bad_argument", "wanted ?topic=<pattern>, as ?topic=stock.>");
  if (const auto field = request.field("last-event-id"); !field.empty()) asked->token = field;
  std::vector<Subscribe> subscribes;
  for (const std::string& topic : asked->topics) {
    const bool last = asked->last && asked->token.empty();
    // Read as the line that it would be, so that it means the same.
    Command command = parse_line(fmt::format("SUB {}{}{}", topic, last ? " last" : "", asked->options));
    if (auto* const wrong = std::get_if<BadCommand>(&command)) return tl::unexpected(std::move(*wrong));
    auto& subscribe = std::get<Subscribe>(command);
    if (!asked->token.empty()) {
      if (auto wrong = set_resume(subscribe, asked->token)) return tl::unexpected(*std::move(wrong));
    }
    subscribes.push_back(std::move(subscribe));
  }
  // Else the history of these would come twice.
  std::vector<Pattern> wide;
  for (const Subscribe& each : subscribes) {
    if (!each.pattern.is_exact()) wide.push_back(each.pattern);
  }
  std::erase_if(subscribes, [&](const Subscribe& each) {
    return each.pattern.is_exact() && std::any_of(wide.begin(), wide.end(), [&](const Pattern& other) {
             return other.matches(each.pattern.str());
           });
  });
  return subscribes;
}

}  // namespace backplane::gateway::sse
