#pragma once
// Events of publishers that know no protobuf.

#include <cstddef>
#include <span>

namespace backplane::broker {

/// Size of the Event that `payload_bytes` bytes become.
[[nodiscard]] std::size_t raw_event_bytes(std::size_t payload_bytes) noexcept;

/// Writes the Event: source "raw", not numbered, no time; the payload is `text` where it is UTF-8, else
/// `binary`. `out` has exactly raw_event_bytes(payload.size()) bytes.
void write_raw_event(std::span<const std::byte> payload, std::span<std::byte> out) noexcept;

}  // namespace backplane::broker
