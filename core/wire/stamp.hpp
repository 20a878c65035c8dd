#pragma once
// The broker's stamp: field 15 of an Event, always its last 47 bytes (proto/backplane/v1/event.proto).

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "core/wire/little_endian.hpp"

namespace backplane::wire {

/// What the broker adds to an event that it admits. See backplane.v1.Stamp.
struct Stamp {
  std::uint64_t stream{};      ///< upper 32 bits: which broker and backplane; lower: which incarnation of it
  std::uint64_t position{};    ///< 1, 2, 3, … per stream, over all topics
  std::uint64_t offset{};      ///< 1, 2, 3, … per (stream, topic)
  std::uint64_t previous{};    ///< position of the topic's previous event; 0 for its first
  std::int64_t received_ns{};  ///< Unix time at the broker, nanoseconds
  friend bool operator==(const Stamp&, const Stamp&) = default;
};

/// Tag and length (2 bytes), then five fields of tag and 8 bytes.
inline constexpr std::size_t stamp_bytes = 2 + 5 * 9;

/// Writes `stamp` as field 15, to be appended to an event's bytes.
void write_stamp(const Stamp& stamp, std::span<std::byte, stamp_bytes> out) noexcept;

/// The stamp at the end of `event`, or nothing if its last 47 bytes are not a stamp in exactly the broker's
/// form. Reads no other byte: if the sender is not trusted, scan the event first.
[[nodiscard]] std::optional<Stamp> read_stamp(std::span<const std::byte> event) noexcept;

/// Whether the stamp of `event` has `position`. Checks only that: for events that this process has stamped.
[[nodiscard]] inline bool is_stamped(std::span<const std::byte> event, std::uint64_t position) noexcept {
  constexpr std::size_t position_at = 2 + 9 + 1;  // the field's tag and length, the stream, a tag
  return event.size() >= stamp_bytes &&
         load_little_endian<std::uint64_t>(event.data() + event.size() - stamp_bytes + position_at) ==
             position;
}

/// The offset in the stamp of `event`, which must have one: for events that this process has stamped.
[[nodiscard]] inline std::uint64_t stamped_offset(std::span<const std::byte> event) noexcept {
  constexpr std::size_t offset_at = 2 + 2 * 9 + 1;  // the field's tag and length, stream, position, a tag
  return load_little_endian<std::uint64_t>(event.data() + event.size() - stamp_bytes + offset_at);
}

/// The number of lost events that a stamped event stands for (its field `lost`); 0: it is an event. For most
/// events, it costs one comparison. `event` must have a stamp, and have been admitted by a broker.
[[nodiscard]] std::uint64_t lost_events(std::span<const std::byte> event) noexcept;

/// The event as its publisher sent it. `event` must have a stamp.
[[nodiscard]] inline std::span<const std::byte> without_stamp(std::span<const std::byte> event) noexcept {
  return event.first(event.size() - stamp_bytes);
}

}  // namespace backplane::wire
