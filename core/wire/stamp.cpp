#include "core/wire/stamp.hpp"

#include "core/wire/little_endian.hpp"
#include "core/wire/scan.hpp"

namespace backplane::wire {
namespace {

constexpr std::byte field_15{(15 << 3) | 2};
constexpr std::byte length{stamp_bytes - 2};
constexpr std::array<std::byte, 5> tags{std::byte{(1 << 3) | 1}, std::byte{(2 << 3) | 1},
                                        std::byte{(3 << 3) | 1}, std::byte{(4 << 3) | 1},
                                        std::byte{(5 << 3) | 1}};

}  // namespace

void write_stamp(const Stamp& stamp, std::span<std::byte, stamp_bytes> out) noexcept {
  const std::array<std::uint64_t, 5> values{stamp.stream, stamp.position, stamp.offset, stamp.previous,
                                            static_cast<std::uint64_t>(stamp.received_ns)};
  std::byte* at = out.data();
  *at++ = field_15;
  *at++ = length;
  for (std::size_t i = 0; i < values.size(); ++i) {
    *at++ = tags[i];
    store_little_endian(values[i], at);
    at += sizeof values[i];
  }
}

std::optional<Stamp> read_stamp(std::span<const std::byte> event) noexcept {
  if (event.size() < stamp_bytes) return std::nullopt;
  const std::byte* at = event.data() + (event.size() - stamp_bytes);
  if (at[0] != field_15 || at[1] != length) return std::nullopt;
  at += 2;
  std::array<std::uint64_t, 5> values{};
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (*at++ != tags[i]) return std::nullopt;
    values[i] = load_little_endian<std::uint64_t>(at);
    at += sizeof values[i];
  }
  return Stamp{.stream = values[0],
               .position = values[1],
               .offset = values[2],
               .previous = values[3],
               .received_ns = static_cast<std::int64_t>(values[4])};
}

std::uint64_t lost_events(std::span<const std::byte> event) noexcept {
  // A broker admits `lost` only as the last field, before the stamp.
  constexpr std::size_t field_bytes = 1 + sizeof(std::uint64_t);
  constexpr std::byte field_14{(14 << 3) | 1};
  if (event.size() < stamp_bytes + field_bytes) return 0;
  if (event[event.size() - stamp_bytes - field_bytes] != field_14) return 0;
  const ScanResult scan = scan_event(without_stamp(event));  // the byte may belong to a payload
  return scan.fault == EventFault::none ? scan.event.lost : 0;
}

}  // namespace backplane::wire
