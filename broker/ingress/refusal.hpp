#pragma once
// Why a broker refuses an event.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/wire/scan.hpp"

namespace backplane::broker {

/// Each is counted under its name() on /metrics and logged at a limited rate.
enum class Refusal : std::uint8_t {
  none,
  wrong_frames,    ///< not the two frames [topic][Event]
  bad_topic,       ///< not a topic
  reserved_topic,  ///< a $SYS topic
  too_large,       ///< above max_event_bytes
  truncated,       ///< from here to `bad_lost`: faults found by the scan, see wire::EventFault
  bad_varint,
  field_zero,
  group,
  wrong_wire_type,
  source_not_utf8,
  text_not_utf8,
  bad_time,
  bad_message,
  bad_attributes,
  stamped,
  bad_lost,
  repeat,         ///< a duplicate: the sequence is not above the last one admitted in its session
  topics_full,    ///< a new topic, but max_topics is reached
  sequence_jump,  ///< a sequence far above the session's last one, by another connection than the session's;
                  ///< or the session's event before it is missing
  not_permitted,  ///< the user may not publish the topic
  wrong_user,     ///< the session belongs to another user
};
inline constexpr std::size_t refusal_count = static_cast<std::size_t>(Refusal::wrong_user) + 1;

[[nodiscard]] std::string_view name(Refusal refusal) noexcept;
[[nodiscard]] Refusal refusal_of(wire::EventFault fault) noexcept;

}  // namespace backplane::broker
