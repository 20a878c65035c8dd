#pragma once
// One segment of the log, and its index.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "broker/store/damage.hpp"
#include "broker/store/files.hpp"
#include "broker/store/record.hpp"

namespace backplane::broker::store {

/// The place of a record, about every 64 KiB of a segment.
struct Block {
  std::uint64_t position{};  ///< of its first event
  std::int64_t time{};       ///< of its first event
  std::uint32_t at{};        ///< where that record begins
};
inline constexpr std::uint64_t block_bytes = std::uint64_t{64} << 10;

/// A segment: a range of positions, and a file with the records of that range. The last segment of a store
/// grows; the others never change, but the cleaner replaces them. Guarded by the store's mutex; the file may
/// be read without it.
struct Segment {
  std::shared_ptr<File> file;
  FileHeader header;
  std::string name;          ///< without ".log"
  std::uint64_t bytes{};     ///< intact ones
  std::uint64_t records{};   ///< events
  std::uint64_t through{};   ///< the last position that it is for
  std::int64_t last_time{};  ///< the time of that position
  std::vector<Block> blocks;
  bool is_indexed{};  ///< its index file is written
  bool is_damaged{};  ///< the cleaner leaves it alone

  [[nodiscard]] std::uint64_t first() const noexcept { return header.first; }
  [[nodiscard]] std::uint64_t records_at() const noexcept { return header_bytes + header.removals_bytes; }
  /// Where events may have been destroyed if any of the `removed` records at the start is damaged: anywhere
  /// in the segment, because each stands for events at any position in it.
  [[nodiscard]] Damage damage_of_removals() const noexcept {
    return {.after = first() - 1,
            .before = std::max(through, header.through) + 1,
            .time = std::max(last_time, header.last_time)};
  }

  /// Adds an event whose record of `record_bytes` begins at `at`.
  void add(std::uint64_t position, std::int64_t time, std::uint64_t at);
  /// Where to begin to read in order to find the first event after `position`, or at that time or later,
  /// whichever comes last.
  [[nodiscard]] std::uint64_t start_after(std::uint64_t position, std::int64_t since) const;
  /// The position before the first event of the block of `start`.
  [[nodiscard]] std::uint64_t position_before(std::uint64_t start) const;
  /// Where the block of `start` ends: the start of the next one, or of the end.
  [[nodiscard]] std::uint64_t block_end(std::uint64_t start) const;
};

/// The file with a segment's index. It contains nothing that the segment does not.
[[nodiscard]] std::string encode_index(const Segment& segment);
/// Sets records, through, last_time and blocks. @returns false if it is damaged or of another segment, or if
/// the segment has another size than when it was complete, and is damaged (also set).
[[nodiscard]] bool decode_index(std::string_view bytes, Segment& segment);

}  // namespace backplane::broker::store
