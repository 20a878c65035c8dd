#pragma once
// Tables with aligned columns.

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace backplane::cli {

/// The number of terminal columns that UTF-8 text occupies: 2 for a wide character, 0 for a combining one. A
/// byte that is not UTF-8 counts as one.
[[nodiscard]] std::size_t display_width(std::string_view text);

/// The text, or its beginning and an ellipsis if it occupies more than `width` columns.
[[nodiscard]] std::string cut(std::string_view text, std::size_t width);

struct Column {
  enum class Align : unsigned char { left, right };
  std::string title;
  Align align = Align::left;
  /// Becomes narrower if the table is too wide, down to `width_min`. The widest such column shrinks first.
  bool shrinks = false;
  std::size_t width_min = 8;
};

/// Rows of text under titles. A value.
class Table {
 public:
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  /// @param cells  one for each column. They are shown as they are: the caller escapes text from outside.
  void add(std::vector<std::string> cells);
  [[nodiscard]] std::size_t rows() const noexcept { return rows_.size(); }

  /// The titles, then the rows, with two spaces between columns and none at the end of a line. Lines occupy
  /// at most `width` columns: if shrinking is not enough, they are cut at the right.
  [[nodiscard]] std::vector<std::string> lines(std::size_t width) const;

 private:
  [[nodiscard]] std::vector<std::size_t> widths(std::size_t width) const;
  [[nodiscard]] std::string line(const std::vector<std::string>& cells,
                                 const std::vector<std::size_t>& widths) const;

  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace backplane::cli
