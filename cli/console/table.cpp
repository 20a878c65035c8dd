#include "cli/console/table.hpp"

#include <algorithm>
#include <clocale>
#include <cwchar>
#include <numeric>

#include <locale.h>

#include "core/error/error.hpp"

namespace backplane::cli {
namespace {

constexpr std::string_view between = "  ";
constexpr std::string_view ellipsis = "…";

/// Switches this thread to a UTF-8 locale while it exists, whatever the environment says.
class Utf8 {
 public:
  Utf8() : before_(::uselocale(locale())) {}
  ~Utf8() { ::uselocale(before_); }
  Utf8(const Utf8&) = delete;
  Utf8& operator=(const Utf8&) = delete;

 private:
  /// Created once, because that reads files; it has no state. If the C library has no such locale,
  /// uselocale(null) changes nothing.
  static locale_t locale() {
    static const locale_t utf8 = ::newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
    return utf8;
  }
  locale_t before_;
};

/// The size of a character in bytes and in columns.
struct Character {
  std::size_t bytes;
  std::size_t columns;
};
Character next_character(std::string_view text) {
  std::mbstate_t state{};
  wchar_t wide = 0;
  const std::size_t bytes = std::mbrtowc(&wide, text.data(), text.size(), &state);
  if (bytes == 0 || bytes > text.size()) return {1, 1};  // not UTF-8, or an incomplete character
  const int columns = ::wcwidth(wide);
  return {bytes, columns < 0 ? 1 : static_cast<std::size_t>(columns)};
}

}  // namespace

std::size_t display_width(std::string_view text) {
  const Utf8 utf8;
  std::size_t columns = 0;
  while (!text.empty()) {
    const Character next = next_character(text);
    columns += next.columns;
    text.remove_prefix(next.bytes);
  }
  return columns;
}

std::string cut(std::string_view text, std::size_t width) {
  if (display_width(text) <= width) return std::string(text);
  if (width == 0) return {};
  const Utf8 utf8;
  std::size_t columns = 1;  // the ellipsis
  std::size_t bytes = 0;
  while (bytes < text.size()) {
    const Character next = next_character(text.substr(bytes));
    if (columns + next.columns > width) break;
    columns += next.columns;
    bytes += next.bytes;
  }
  return std::string(text.substr(0, bytes)).append(ellipsis);
}

void Table::add(std::vector<std::string> cells) {
  CHECK(cells.size() == columns_.size(), "a row has one cell for each column");
  rows_.push_back(std::move(cells));
}

std::vector<std::size_t> Table::widths(std::size_t width) const {
  std::vector<std::size_t> widths;
  for (std::size_t column = 0; column < columns_.size(); ++column) {
    std::size_t widest = display_width(columns_[column].title);
    for (const auto& row : rows_) widest = std::max(widest, display_width(row[column]));
    widths.push_back(widest);
  }
  std::size_t all = std::accumulate(widths.begin(), widths.end(), std::size_t{0});
  if (!columns_.empty()) all += between.size() * (columns_.size() - 1);
  while (all > width) {
    std::size_t widest = columns_.size();
    for (std::size_t column = 0; column < columns_.size(); ++column) {
      if (!columns_[column].shrinks || widths[column] <= columns_[column].width_min) continue;
      if (widest == columns_.size() || widths[column] > widths[widest]) widest = column;
    }
    if (widest == columns_.size()) break;  // no column can shrink further
    --widths[widest];
    --all;
  }
  return widths;
}

std::string Table::line(const std::vector<std::string>& cells, const std::vector<std::size_t>& widths) const {
  std::string line;
  for (std::size_t column = 0; column < cells.size(); ++column) {
    if (column > 0) line += between;
    const std::string shown = cut(cells[column], widths[column]);
    const std::string padding(widths[column] - display_width(shown), ' ');
    line += columns_[column].align == Column::Align::left ? shown + padding : padding + shown;
  }
  line.erase(line.find_last_not_of(' ') + 1);
  return line;
}

std::vector<std::string> Table::lines(std::size_t width) const {
  const std::vector<std::size_t> all = widths(width);
  std::vector<std::string> titles;
  for (const Column& column : columns_) titles.push_back(column.title);
  std::vector<std::string> lines{cut(line(titles, all), width)};
  for (const auto& row : rows_) lines.push_back(cut(line(row, all), width));
  return lines;
}

}  // namespace backplane::cli
