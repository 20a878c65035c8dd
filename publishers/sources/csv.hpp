#pragma once
// Reads comma-separated values (RFC 4180), also with another separator.

#include <cstddef>
#include <deque>
#include <istream>
#include <string>
#include <string_view>
#include <vector>

namespace backplane::sources {

/// Reads records. Belongs to one thread; the stream must outlive it. A damaged record is reported and
/// skipped, and reading continues with the next line. (Debian's fast-cpp-csv-parser does not support quoted
/// line ends and fixes the columns at compile time.)
class CsvReader {
 public:
  enum class Next { record, bad, end };

  CsvReader(std::istream& in, std::size_t record_bytes_max, char separator = ',')
      : in_(in), record_bytes_max_(record_bytes_max), separator_(separator) {}

  /// Skips empty lines. Line ends may be LF or CRLF; within quotes they are returned as LF.
  [[nodiscard]] Next next();

  /// The fields of the last record.
  [[nodiscard]] const std::vector<std::string>& fields() const noexcept { return fields_; }
  /// The text of the last record. Valid until next().
  [[nodiscard]] const std::string& text() const noexcept { return text_; }
  /// The line on which the last record, good or bad, begins: 1, 2, 3, …
  [[nodiscard]] std::size_t line() const noexcept { return line_; }
  /// What is wrong with the last record, if it is bad.
  [[nodiscard]] const std::string& fault() const noexcept { return fault_; }

 private:
  struct Line {
    std::string text;
    bool cut{};  // the line was longer than a record may be
  };
  bool take_line(Line& line);
  Next bad(std::string fault, std::deque<Line> unread);
  /// @returns what is wrong; empty if nothing is.
  std::string split(std::string_view record);

  std::istream& in_;
  std::size_t record_bytes_max_;
  char separator_;
  std::deque<Line> unread_;  // lines consumed by a quoted field that was never closed
  std::size_t lines_taken_{};
  std::size_t line_{};
  std::string text_;
  std::vector<std::string> fields_;
  std::string fault_;
};

/// How often `c` occurs in the record outside quotes.
[[nodiscard]] std::size_t count_unquoted(std::string_view record, char c) noexcept;

}  // namespace backplane::sources
