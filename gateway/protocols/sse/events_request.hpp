#pragma once
// What a request for Server-Sent Events asks for.

#include <cstdint>
#include <vector>

#include "core/error/error.hpp"
#include "gateway/commands/command.hpp"
#include "gateway/protocols/http/message.hpp"

namespace backplane::gateway::sse {

/// Reads `topic=` (one or more), `last`, `since=`, `every=`, `policy=` and `last_event_id=` of the query, and
/// the field Last-Event-ID, which counts for more than the latter; either goes before `since` and `last`.
/// Options are those of SUB, for each of the topics.
/// @returns at least one, each pattern once; or what is wrong, in the words of the line protocol.
[[nodiscard]] tl::expected<std::vector<Subscribe>, BadCommand> read_events_request(
    const http::Request& request);

}  // namespace backplane::gateway::sse
