#pragma once
// The replies that carry events, written without making objects of them.

#include <span>
#include <string>
#include <string_view>

#include "broker/state/history_store.hpp"

namespace backplane::broker {

/// What a StoredEvent costs in a reply beside its topic and its event, at most: three tags and lengths.
inline constexpr std::size_t event_framing_bytes_max = 14;

/// Behind `head`, a ControlReply without its `reply`: a RetainedReply with these events.
[[nodiscard]] std::string retained_reply(std::string_view head, std::span<const StoredEvent> events,
                                         std::uint64_t valid_ns);

/// Behind `head`: a ReplayReply.
[[nodiscard]] std::string replay_reply(std::string_view head, std::span<const StoredEvent> events,
                                       std::uint64_t through_position);

}  // namespace backplane::broker
