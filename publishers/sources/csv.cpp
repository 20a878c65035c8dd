#include "publishers/sources/csv.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace backplane::sources {
namespace {

bool ends_within_quotes(std::string_view text, bool within) {
  return within != (std::count(text.begin(), text.end(), '"') % 2 != 0);
}

std::string separator_name(char separator) {
  if (separator == ',') return "a comma";
  if (separator == '\t') return "a tab";
  return fmt::format("\"{}\"", separator);
}

}  // namespace

bool CsvReader::take_line(Line& line) {
  ++lines_taken_;
  if (!unread_.empty()) {
    line = std::move(unread_.front());
    unread_.pop_front();
    return true;
  }
  line = {};
  bool any = false;
  for (auto* bytes = in_.rdbuf();;) {
    const int byte = bytes->sbumpc();
    if (byte == std::char_traits<char>::eof()) break;
    any = true;
    if (byte == '\n') break;
    if (line.text.size() < record_bytes_max_) {
      line.text.push_back(static_cast<char>(byte));
    } else {
      line.cut = true;
    }
  }
  if (line.text.ends_with('\r')) line.text.pop_back();
  constexpr std::string_view byte_order_mark = "\xef\xbb\xbf";
  if (lines_taken_ == 1 && line.text.starts_with(byte_order_mark)) {
    line.text.erase(0, byte_order_mark.size());
  }
  return any;
}

CsvReader::Next CsvReader::bad(std::string fault, std::deque<Line> unread) {
  lines_taken_ -= unread.size();
  unread_.insert(unread_.begin(), std::make_move_iterator(unread.begin()),
                 std::make_move_iterator(unread.end()));
  fault_ = std::move(fault);
  return Next::bad;
}

CsvReader::Next CsvReader::next() {
  Line first;
  do {
    if (!take_line(first)) return Next::end;
  } while (first.text.empty());
  line_ = lines_taken_;
  text_.clear();
  if (first.cut)
    return bad(fmt::format("expected at most {} bytes per record, got more", record_bytes_max_), {});

  std::string record = std::move(first.text);
  std::deque<Line> more;
  bool within_quotes = ends_within_quotes(record, false);
  while (within_quotes) {
    Line line;
    if (!take_line(line)) {
      --lines_taken_;
      return bad("expected a closing quote, got none", std::move(more));
    }
    record.append("\n").append(line.text);
    within_quotes = ends_within_quotes(line.text, true);
    const bool too_long = line.cut || record.size() > record_bytes_max_;
    more.push_back(std::move(line));
    if (too_long) {
      return bad(fmt::format("expected a closing quote within {} bytes, got none", record_bytes_max_),
                 std::move(more));
    }
  }
  text_ = std::move(record);
  if (std::string fault = split(text_); !fault.empty()) return bad(std::move(fault), std::move(more));
  return Next::record;
}

std::string CsvReader::split(std::string_view record) {
  fields_.clear();
  for (std::size_t at = 0;; ++at) {
    std::string& field = fields_.emplace_back();
    if (at < record.size() && record[at] == '"') {
      for (++at; at < record.size(); ++at) {
        if (record[at] != '"') {
          field.push_back(record[at]);
        } else if (at + 1 < record.size() && record[at + 1] == '"') {
          field.push_back(record[at++]);
        } else {
          break;
        }
      }
      ++at;  // the closing quote, which exists because the number of quotes is even
    } else {
      const std::size_t end = std::min(record.find(separator_, at), record.size());
      field = record.substr(at, end - at);
      if (field.find('"') != std::string::npos) {
        return fmt::format("field {}: expected quotes around the whole field, got one inside it",
                           fields_.size());
      }
      at = end;
    }
    if (at >= record.size()) return {};
    if (record[at] != separator_) {
      return fmt::format("field {}: expected {} after the closing quote", fields_.size(),
                         separator_name(separator_));
    }
  }
}

std::size_t count_unquoted(std::string_view record, char c) noexcept {
  std::size_t count = 0;
  bool quoted = false;
  for (const char each : record) {
    if (each == '"') quoted = !quoted;
    if (each == c && !quoted) ++count;
  }
  return count;
}

}  // namespace backplane::sources
