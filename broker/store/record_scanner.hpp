#pragma once
// Reads the records of a segment in order.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "broker/store/files.hpp"
#include "broker/store/record.hpp"

namespace backplane::broker::store {

/// Bytes that were read from a file; shared by everything that still points into them.
using Chunk = std::shared_ptr<char[]>;

/// Reads the records between two places of a file, skipping damaged ones. One thread. The views of a record
/// stay valid as long as its chunk.
class RecordScanner {
 public:
  /// `from` must be the start of a record. Reads at least `read_bytes` at a time.
  RecordScanner(std::shared_ptr<const File> file, std::uint64_t from, std::uint64_t to,
                std::size_t read_bytes = std::size_t{256} << 10);

  /// Advances to the next intact record. @returns false at the end, or if the file cannot be read: error().
  [[nodiscard]] bool next();
  [[nodiscard]] const Record& record() const noexcept { return record_; }
  /// Where the record begins in the file.
  [[nodiscard]] std::uint64_t at() const noexcept { return record_at_; }
  [[nodiscard]] const Chunk& chunk() const noexcept { return chunk_; }
  /// Where the last intact record ended. After the end: what follows is damaged.
  [[nodiscard]] std::uint64_t intact_end() const noexcept { return intact_end_; }
  /// Damaged bytes that were skipped between intact records, and the start of the first of these ranges.
  [[nodiscard]] std::uint64_t damaged_bytes() const noexcept { return damaged_bytes_; }
  [[nodiscard]] std::uint64_t first_damage_at() const noexcept { return first_damage_at_; }
  /// Whether it has passed damage, or ended at damage, between where it began and `to`.
  [[nodiscard]] bool has_damage_before(std::uint64_t to) const noexcept {
    return damaged_bytes_ > 0 ? first_damage_at_ < to : intact_end_ < to;
  }
  /// After the end: whether what follows can be the beginning of a record that was being written.
  [[nodiscard]] bool ends_in_part_of_record();
  [[nodiscard]] const Result<void>& error() const noexcept { return error_; }

 private:
  [[nodiscard]] std::string_view loaded() const;
  bool load(std::uint64_t at, std::size_t bytes);
  Parsed parse();

  std::shared_ptr<const File> file_;
  std::uint64_t next_at_;
  std::uint64_t end_;
  std::size_t read_bytes_;
  Chunk chunk_;
  std::size_t chunk_capacity_{0};
  std::uint64_t chunk_at_{0};
  std::size_t chunk_bytes_{0};
  Record record_;
  std::uint64_t record_at_{0};
  std::uint64_t intact_end_;
  std::uint64_t damaged_bytes_{0};
  std::uint64_t first_damage_at_{0};
  Result<void> error_;
};

}  // namespace backplane::broker::store
