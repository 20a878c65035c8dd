#pragma once
// Reads the records of a file: a table (CSV), or one JSON object per line (NDJSON).

#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/error/error.hpp"
#include "publishers/sources/record.hpp"

namespace backplane::sources {

enum class RecordFormat {
  by_name,  ///< .csv and .tsv, or .ndjson, .jsonl and .json
  csv,
  ndjson,
};

/// Reads one file once. Belongs to one thread. Damaged records are reported and skipped.
class RecordReader {
 public:
  enum class Next { record, bad, end };

  /// Opens a regular file. Reads the first line of a table, which names the columns.
  /// @param separator of a table's fields; 0: a tab for .tsv, else a comma. Without it, a table whose first
  /// line has another separator is an error: its lines would become nonsense.
  static Result<std::unique_ptr<RecordReader>> open(const std::filesystem::path& file, RecordFormat format,
                                                    char separator = 0);
  virtual ~RecordReader() = default;

  [[nodiscard]] virtual Next next() = 0;

  /// The last record.
  [[nodiscard]] const Record& record() const noexcept { return record_; }
  /// The last record as JSON text.
  [[nodiscard]] virtual std::string json() const = 0;
  /// The line on which the last record, good or bad, begins: 1, 2, 3, …
  [[nodiscard]] std::size_t line() const noexcept { return line_; }
  /// What is wrong with the last record, if it is bad.
  [[nodiscard]] const std::string& fault() const noexcept { return fault_; }
  /// The names common to all records; empty if each record has its own names.
  [[nodiscard]] const std::vector<std::string>& columns() const noexcept { return columns_; }

 protected:
  Record record_;
  std::size_t line_{};
  std::string fault_;
  std::vector<std::string> columns_;
};

}  // namespace backplane::sources
