#pragma once
// The subscriptions of a request for Server-Sent Events.

#include <cstdint>
#include <vector>

#include "core/error/error.hpp"
#include "gateway/commands/command.hpp"
#include "gateway/protocols/http/message.hpp"

namespace backplane::gateway::sse {

/// Reads `topic=` (one or more), `last`, `since=`, `every=`, `policy=` and `last_event_id=` from the query,
/// and the field Last-Event-ID. The field takes precedence over `last_event_id=`, and both over `since` and
/// `last`. Options mean what they mean for SUB, and apply to each topic.
/// @returns at least one subscription, each pattern once; or what is wrong, with a code of the line protocol.
[[nodiscard]] tl::expected<std::vector<Subscribe>, BadCommand> read_events_request(
    const http::Request& request);

}  // namespace backplane::gateway::sse
