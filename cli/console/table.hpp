#pragma once
// Columns that align, within the width that there is.

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace backplane::cli {

/// How many columns of a terminal UTF-8 text takes: 2 for a wide character, 0 for a combining one. A byte
/// that is not UTF-8 counts as one.
[[nodiscard]] std::size_t display_width(std::string_view text);

/// The text, or its beginning and an ellipsis where it would take more than `width` columns.
[[nodiscard]] std::string cut(std::string_view text, std::size_t width);

struct Column {
  enum class Align : unsigned char { left, right };
  std::string title;
  Align align = Align::left;
  /// Gives way where the table is too wide (the widest of those that do first), down to `width_min`.
  bool shrinks = false;
  std::size_t width_min = 8;
};

/// Rows of text under titles. A value.
class Table {
 public:
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  /// One cell a column. Cells are shown as they are: what comes from outside is escaped before.
  void add(std::vector<std::string> cells);
  [[nodiscard]] std::size_t rows() const noexcept { return rows_.size(); }

  /// The titles, then the rows, two spaces between columns, none at the end of a line. No line takes more
  /// than `width` columns: what columns that shrink cannot save is cut off at the right.
  [[nodiscard]] std::vector<std::string> lines(std::size_t width) const;

 private:
  [[nodiscard]] std::vector<std::size_t> widths(std::size_t width) const;
  [[nodiscard]] std::string line(const std::vector<std::string>& cells,
                                 const std::vector<std::size_t>& widths) const;

  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace backplane::cli
