#pragma once
// Looks through an Event (proto/backplane/v1/event.proto) without parsing it into objects.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace backplane::wire {

/// Why bytes are not an Event that a broker takes. Each is a reason of its own on /metrics.
enum class EventFault : std::uint8_t {
  none,
  truncated,        ///< ends in the middle of a field, or a length points past the end
  bad_varint,       ///< a varint above 64 bits, or a tag or length of more than 5 bytes or 32 bits
  field_zero,       ///< field number 0
  group,            ///< wire types 3 and 4, or the undefined 6 and 7
  wrong_wire_type,  ///< a known field with another wire type than the contract's
  source_not_utf8,
  text_not_utf8,
  bad_time,        ///< `time` does not scan as a Timestamp one level down
  bad_message,     ///< `message` does not scan as an Any one level down, or its type_url is not UTF-8
  bad_attributes,  ///< an `attributes` entry does not scan one level down, or is not UTF-8
  stamped,         ///< there is a field 15 already
};

/// The reason as one word, as in metrics and logs: "truncated", "field_zero", …
[[nodiscard]] std::string_view name(EventFault fault) noexcept;

/// What the payload oneof holds. As in protobuf, the last of several wins.
enum class Payload : std::uint8_t { none, message, text, binary };

/// What a scan has found; where a field stands more than once, what protobuf makes of that: the last
/// one counts, and the parts of `time` and `message` are merged. The views point into the scanned bytes.
struct EventView {
  // Not constexpr, so that the members are set one by one: GCC clears a constant of this size with `rep
  // stos`, which costs a third of a scan.
  EventView() noexcept {}  // NOLINT(modernize-use-equals-default)

  std::string_view source;
  std::uint64_t session{};
  std::uint64_t sequence{};
  Payload payload{Payload::none};
  std::string_view body;      ///< text or binary: the payload; message: the bytes of the (last) Any
  std::string_view type_url;  ///< message only
  std::string_view message;   ///< message only: Any.value
  bool has_time{};
  std::int64_t time_seconds{};  ///< of `time`, Unix
  std::int32_t time_nanos{};
};

struct ScanResult {
  EventFault fault{EventFault::none};
  std::size_t fault_at{};       ///< byte at which the field stands that is at fault
  EventView event;              ///< as far as it was scanned
  std::uint32_t fault_field{};  ///< number of that field; 0 where its tag could not be read
};

/// Looks through an event as a publisher sends it, in time linear in its size at the most, without
/// allocation. Unknown fields are passed over. Any bytes may be given. What it accepts, protobuf's
/// parsers accept; the ranges of `time`'s parts are not looked at, as they are not by protobuf.
[[nodiscard]] ScanResult scan_event(std::span<const std::byte> event) noexcept;

/// Says for a person what scan_event found: `source: bytes that are not UTF-8, at byte 2 of 57`.
[[nodiscard]] std::string describe(const ScanResult& result, std::size_t event_bytes);

/// Whether `bytes` are UTF-8 as RFC 3629 has it: no surrogates, no overlong forms, up to U+10FFFF.
[[nodiscard]] bool is_utf8(std::string_view bytes) noexcept;

}  // namespace backplane::wire
