#pragma once
// The subscriptions of a request for events.

#include <string>
#include <vector>

#include "core/error/error.hpp"
#include "gateway/commands/command.hpp"
#include "gateway/protocols/http/message.hpp"

namespace backplane::gateway::sse {

struct EventsRequest {
  std::vector<Subscribe> subscribes;  ///< each pattern once
  std::vector<std::string> ignored;   ///< parameters that mean nothing here, as `name=value`
};

/// Reads `topic=` (one or more), `last`, `since=`, `every=`, `policy=` and `last_event_id=` from the query,
/// and the field Last-Event-ID. `last_event_id` may have the names that polyfills of EventSource use, such as
/// `lastEventId`. The field takes precedence over it, and both over `since` and `last`. Options mean what
/// they mean for SUB, and apply to each topic.
/// @returns at least one subscription; or what is wrong, with a code of the line protocol.
[[nodiscard]] tl::expected<EventsRequest, BadCommand> read_events_request(const http::Request& request);

/// The same for a WebSocket, whose query may also be without topics and options.
[[nodiscard]] tl::expected<EventsRequest, BadCommand> read_socket_request(const http::Request& request);

/// A line about ignored parameters, for the client; empty if there are none.
[[nodiscard]] std::string ignored_text(const EventsRequest& request);

}  // namespace backplane::gateway::sse
