#pragma once
// Describes what is wrong with a store's file: what was expected, and what is there.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "broker/store/segment.hpp"
#include "broker/store/store_reader.hpp"

namespace backplane::broker::store {

/// What the name of a segment, an index or a checkpoint says.
struct FileName {
  std::uint64_t stream{};
  std::uint64_t position{};
};
inline constexpr std::size_t stream_digits = 16;
inline constexpr std::size_t position_digits = 20;
/// `<stream>-<position>.<anything>`; nothing for other names.
[[nodiscard]] std::optional<FileName> parse_file_name(std::string_view name);

/// Of a file named `name` whose header has this stream and position, if it is another's.
[[nodiscard]] std::optional<StoreDamage> damage_of_name(const std::string& name, std::uint64_t stream,
                                                        std::uint64_t position);
/// Of `bytes`, the whole file (of a segment: its header), which could not be decoded. `what`: "a checkpoint".
[[nodiscard]] StoreDamage damage_of_file(std::string_view bytes, const std::string& name,
                                         std::string_view what);
/// Of the file `store` with this text, whose checksum is wrong.
[[nodiscard]] StoreDamage damage_of_mark(std::string_view text, const std::string& name);
/// Of the bytes of a segment from `from` to `to`, between intact records or at the end.
[[nodiscard]] StoreDamage damage_of_records(const Segment& segment, std::uint64_t from, std::uint64_t to);
/// Whether the end of a segment, from `from` on, can be the beginning of a record that was being written.
[[nodiscard]] bool is_part_of_record(const Segment& segment, std::uint64_t from);

}  // namespace backplane::broker::store
