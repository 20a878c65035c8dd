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

/// Whether the text is one word of a command line.
bool is_word(std::string_view text) {
  return std::none_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) <= 0x20; });
}

struct Query {
  std::vector<std::string> topics;
  std::string options;  ///< in the form of SUB's
  std::string token;
  bool last{};
};

tl::expected<Query, BadCommand> read_query(const http::Parameters& parameters) {
  Query query;
  for (const auto& [name, value] : parameters) {
    if (name == "topic") {
      if (!is_word(value) || value.empty())
        return bad("bad_topic", "expected a pattern, got " + shown(value));
      if (std::find(query.topics.begin(), query.topics.end(), value) == query.topics.end()) {
        query.topics.push_back(value);
      }
    } else if (name == "last") {
      if (!value.empty() && value != "1" && value != "true") {
        return bad("bad_option", "expected last without a value, got " + shown(value));
      }
      query.last = true;
    } else if (name == "last_event_id") {
      query.token = value;
    } else if ((name == "since" || name == "every" || name == "policy") && is_word(value)) {
      query.options += fmt::format(" {}={}", name, value);
    } else {
      return bad("bad_option",
                 fmt::format("expected topic=, last, since=, every=, policy= or last_event_id=, got {}",
                             shown(fmt::format("{}={}", name, value))));
    }
  }
  return query;
}

}  // namespace

tl::expected<std::vector<Subscribe>, BadCommand> read_events_request(const http::Request& request) {
  const auto parameters = http::parse_query(request.query);
  if (!parameters) return bad("bad_argument", "expected a query with escapes of the form %xx");
  auto query = read_query(*parameters);
  if (!query) return tl::unexpected(std::move(query.error()));
  if (query->topics.empty()) return bad("bad_argument", "expected ?topic=<pattern> (such as ?topic=stock.>)");
  if (const auto field = request.field("last-event-id"); !field.empty()) query->token = field;
  std::vector<Subscribe> subscribes;
  for (const std::string& topic : query->topics) {
    const bool last = query->last && query->token.empty();
    // Parsed as a line of the line protocol: it means the same.
    Command command = parse_line(fmt::format("SUB {}{}{}", topic, last ? " last" : "", query->options));
    if (auto* const wrong = std::get_if<BadCommand>(&command)) return tl::unexpected(std::move(*wrong));
    auto& subscribe = std::get<Subscribe>(command);
    if (!query->token.empty()) {
      if (auto wrong = set_resume(subscribe, query->token)) return tl::unexpected(*std::move(wrong));
    }
    subscribes.push_back(std::move(subscribe));
  }
  // Topics that a wider pattern matches would receive their history twice.
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
