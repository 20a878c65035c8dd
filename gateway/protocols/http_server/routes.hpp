#pragma once
// What there is to ask for, and the answers that need nobody else.

#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "gateway/protocols/http/message.hpp"
#include "gateway/protocols/http_server/site.hpp"

namespace backplane::gateway::http {

/// What a request is about, where the session has to do something for it.
struct PublishRoute {
  std::string topic;
};
struct TopicsRoute {
  std::string pattern;
};
struct EventsRoute {};
struct SocketRoute {};
using Route = std::variant<Response, PublishRoute, TopicsRoute, EventsRoute, SocketRoute>;

/// Checks who asks, and finds what answers: a response, or what is to be done. Counts what it refuses. Any
/// thread.
[[nodiscard]] Route route(const Request& request, const Site& site);

/// The fields that tell a browser whose page it may give `response` to. None, where the request came from no
/// other origin.
void add_cors(const Request& request, const Site& site, Response& response);

}  // namespace backplane::gateway::http
