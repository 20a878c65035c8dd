#include "gateway/protocols/sse/events_request.hpp"

#include <algorithm>
#include <cstddef>
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

// A typing error in a request must not be silent, and a parameter that a library adds must not be fatal.
constexpr std::string_view known_parameters = "topic=, last, since=, every=, policy= or last_event_id=";
constexpr std::size_t shown_max = 8;

/// Whether a parameter is `last_event_id`. Libraries that replace EventSource have their own names for it:
/// `lastEventId` (Yaffle's), `evs_last_event_id` (amvtek's).
bool is_token(std::string_view name) {
  std::string letters = http::lower_case(name);
  std::erase_if(letters, [](char c) { return c == '_' || c == '-'; });
  return letters == "lasteventid" || letters == "evslasteventid";
}

struct Query {
  std::vector<std::string> topics;
  std::string options;  ///< in the form of SUB's
  std::string token;
  bool last{};
  std::vector<std::string> ignored;

  [[nodiscard]] bool empty() const { return topics.empty() && options.empty() && token.empty() && !last; }
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
    } else if (name == http::token_parameter) {
      // The session has read it, and nobody else sees it.
    } else if (is_token(name)) {
      if (!value.empty()) query.token = value;
    } else if (name == "since" || name == "every" || name == "policy") {
      if (!is_word(value))
        return bad("bad_option", fmt::format("expected {}= with one word, got {}", name, shown(value)));
      query.options += fmt::format(" {}={}", name, value);
    } else {
      query.ignored.push_back(value.empty() ? name : fmt::format("{}={}", name, value));
    }
  }
  return query;
}

std::string list_ignored(const std::vector<std::string>& ignored) {
  std::string list;
  for (std::size_t i = 0; i < std::min(ignored.size(), shown_max); ++i) {
    list += (i > 0 ? ", " : "") + shown(ignored[i]);
  }
  return ignored.size() > shown_max ? list + ", …" : list;
}

BadCommand no_topic(const Query& query) {
  std::string text = "expected ?topic=<pattern> (such as ?topic=stock.>)";
  if (!query.ignored.empty()) text += ", got only " + list_ignored(query.ignored);
  return {"bad_argument", std::move(text)};
}

tl::expected<EventsRequest, BadCommand> read_request(const http::Request& request, bool needs_topics) {
  const auto parameters = http::parse_query(request.query);
  if (!parameters) return bad("bad_argument", "expected a query with escapes of the form %xx");
  auto query = read_query(*parameters);
  if (!query) return tl::unexpected(std::move(query.error()));
  if (!needs_topics && query->empty()) return EventsRequest{{}, std::move(query->ignored)};
  if (query->topics.empty()) return tl::unexpected(no_topic(*query));
  if (const auto field = request.field("last-event-id"); !field.empty()) query->token = field;
  EventsRequest result;
  result.ignored = std::move(query->ignored);
  std::vector<Subscribe>& subscribes = result.subscribes;
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
  return result;
}

}  // namespace

tl::expected<EventsRequest, BadCommand> read_events_request(const http::Request& request) {
  return read_request(request, true);
}

tl::expected<EventsRequest, BadCommand> read_socket_request(const http::Request& request) {
  return read_request(request, false);
}

std::string ignored_text(const EventsRequest& request) {
  if (request.ignored.empty()) return {};
  return fmt::format("ignored {}: expected {}", list_ignored(request.ignored), known_parameters);
}

}  // namespace backplane::gateway::sse
