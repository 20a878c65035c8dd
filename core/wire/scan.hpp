#pragma once
// Scans an Event (proto/backplane/v1/event.proto) without parsing it into objects.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace backplane::wire {

/// Why a broker does not accept bytes as an Event. Each fault is a reason of its own on /metrics.
enum class EventFault : std::uint8_t {
  none,
  truncated,        ///< ends in the middle of a field, or a length points past the end
  bad_varint,       ///< a varint above 64 bits, or a tag or length of more than 5 bytes or 32 bits
  field_zero,       ///< field number 0
  group,            ///< wire types 3 and 4, or the undefined 6 and 7
  wrong_wire_type,  ///< a known field with the wrong wire type
  source_not_utf8,
  text_not_utf8,
  bad_time,        ///< `time` does not scan as a Timestamp one level down
  bad_message,     ///< `message` does not scan as an Any one level down, or its type_url is not UTF-8
  bad_attributes,  ///< an `attributes` entry does not scan one level down, or is not UTF-8
  stamped,         ///< field 15 is already there
  bad_lost,        ///< `lost` is above lost_max, beside a payload, or not the last field
};

/// The fault as one word, as in metrics and logs: "truncated", "field_zero", …
[[nodiscard]] std::string_view name(EventFault fault) noexcept;

/// The content of the payload oneof. As in protobuf, the last of several wins.
enum class Payload : std::uint8_t { none, message, text, binary };

/// The highest value of `lost`.
inline constexpr std::uint64_t lost_max = std::uint64_t{1} << 32;

/// The result of a scan. If a field appears more than once, the result is protobuf's: the last one counts,
/// and the parts of `time` and `message` are merged. The views point into the scanned bytes.
struct EventView {
  // Not constexpr, so that the members are set one by one: GCC clears a constant of this size with `rep
  // stos`, which costs a third of a scan.
  EventView() noexcept {}  // NOLINT(modernize-use-equals-default)

  std::string_view source;
  std::uint64_t session{};
  std::uint64_t sequence{};
  std::uint64_t after_sequence{};
  std::uint64_t lost{};
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
  std::size_t fault_at{};       ///< offset of the faulty field in bytes
  EventView event;              ///< as far as it was scanned
  std::uint32_t fault_field{};  ///< number of that field; 0 if its tag could not be read
};

/// Scans an event as a publisher sends it, in linear time and without allocation. Unknown fields are skipped.
/// Accepts any bytes. What it accepts, protobuf's parsers accept. It does not check the ranges of `time`'s
/// parts, and neither does protobuf.
[[nodiscard]] ScanResult scan_event(std::span<const std::byte> event) noexcept;

/// Appends the key and value of each entry of `attributes`, in the order in which the publisher wrote them; a
/// key may appear more than once. The views point into `event`.
/// @param event what scan_event() accepts
void read_attributes(std::span<const std::byte> event,
                     std::vector<std::pair<std::string_view, std::string_view>>& out);

/// Describes a fault for people: `source: bytes that are not UTF-8, at byte 2 of 57`.
[[nodiscard]] std::string describe(const ScanResult& result, std::size_t event_bytes);

/// Whether `bytes` are UTF-8 by RFC 3629: no surrogates, no overlong forms, up to U+10FFFF.
[[nodiscard]] bool is_utf8(std::string_view bytes) noexcept;

}  // namespace backplane::wire
