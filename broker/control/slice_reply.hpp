#pragma once
// Encodes the replies that carry events, without building protobuf objects.

#include <span>
#include <string>
#include <string_view>

#include "broker/state/history_store.hpp"

namespace backplane::broker {

/// The bytes that a StoredEvent takes in a reply beside its topic and its event, at most: three tags and
/// lengths.
inline constexpr std::size_t event_framing_bytes_max = 14;

/// Appends to `head`, a ControlReply without `reply`, a RetainedReply with these events.
[[nodiscard]] std::string retained_reply(std::string_view head, std::span<const StoredEvent> events,
                                         std::uint64_t valid_ns,
                                         std::span<const DestroyedEvents> destroyed = {});

/// Appends a ReplayReply to `head`.
[[nodiscard]] std::string replay_reply(std::string_view head, std::span<const StoredEvent> events,
                                       std::uint64_t through_position,
                                       std::span<const DestroyedEvents> destroyed = {},
                                       std::uint64_t stream = 0);

}  // namespace backplane::broker
