#pragma once
// Reads comma-separated values as RFC 4180 has them.

#include <cstddef>
#include <deque>
#include <istream>
#include <string>
#include <string_view>
#include <vector>

namespace backplane::sources {

/// A reader of records. Belongs to one thread; the stream outlives it. A record that is damaged is told and
/// passed over, and reading goes on with the next line. (Debian's fast-cpp-csv-parser knows no quoted line
/// ends and fixes the columns at compile time.)
class CsvReader {
 public:
  enum class Next { record, bad, end };

  explicit CsvReader(std::istream& in, std::size_t record_bytes_max = 64u << 10)
      : in_(in), record_bytes_max_(record_bytes_max) {}

  /// Empty lines are passed over. Line ends may be LF or CRLF, and are LF within quotes.
  [[nodiscard]] Next next();

  /// Of the last record.
  [[nodiscard]] const std::vector<std::string>& fields() const noexcept { return fields_; }
  /// The line on which the last record, good or bad, begins: 1, 2, 3, …
  [[nodiscard]] std::size_t line() const noexcept { return line_; }
  /// What is wrong with the last record, where it is bad.
  [[nodiscard]] const std::string& fault() const noexcept { return fault_; }

 private:
  struct Line {
    std::string text;
    bool cut{};  // it was longer than a record may be
  };
  bool take_line(Line& line);
  Next bad(std::string fault, std::deque<Line> unread);
  /// @returns what is wrong; empty: nothing.
  std::string split(std::string_view record);

  std::istream& in_;
  std::size_t record_bytes_max_;
  std::deque<Line> unread_;  // taken for a quoted field that never ended
  std::size_t lines_taken_{};
  std::size_t line_{};
  std::vector<std::string> fields_;
  std::string fault_;
};

}  // namespace backplane::sources
