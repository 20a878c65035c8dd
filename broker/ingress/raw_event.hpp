#pragma once
// Events of publishers that do not use protobuf.

#include <cstddef>
#include <span>

namespace backplane::broker {

/// The size of the Event made of `payload_bytes` bytes.
[[nodiscard]] std::size_t raw_event_bytes(std::size_t payload_bytes) noexcept;

/// Writes the Event: source "raw", no sequence, no time. The payload is `text` if it is UTF-8, else `binary`.
/// `out` has exactly raw_event_bytes(payload.size()) bytes.
void write_raw_event(std::span<const std::byte> payload, std::span<std::byte> out) noexcept;

}  // namespace backplane::broker
