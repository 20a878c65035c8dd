#pragma once
// The paths, and the responses that need neither the hub nor the broker.

#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "gateway/protocols/http/message.hpp"
#include "gateway/protocols/http_server/site.hpp"

namespace backplane::gateway::http {

/// A request that the session executes.
struct PublishRoute {
  std::string topic;
};
struct TopicsRoute {
  std::string pattern;
};
/// The page about the whole gateway.
struct StatusRoute {
  bool metrics{};  ///< /metrics, else /v1/status
};
struct EventsRoute {};
struct SocketRoute {};
using Route = std::variant<Response, PublishRoute, TopicsRoute, StatusRoute, EventsRoute, SocketRoute>;

/// The token of a request: of the field Authorization (Bearer), else of the query; empty if it has none.
/// @returns nothing if it is malformed.
[[nodiscard]] std::optional<std::string> token_of(const Request& request);

/// Checks host and origin, and finds the response or what the session must do. Counts refusals. Any thread.
[[nodiscard]] Route route(const Request& request, const Site& site);

/// Adds the fields that let a page of another allowed origin read `response`. Adds none if the request has no
/// such origin.
void add_cors(const Request& request, const Site& site, Response& response);

}  // namespace backplane::gateway::http
