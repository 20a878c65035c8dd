#include "publishers/sources/record_reader.hpp"

#include <array>
#include <cerrno>
#include <fstream>
#include <system_error>

#include <fmt/format.h>

#include "core/json/object.hpp"
#include "core/wire/scan.hpp"
#include "publishers/sources/csv.hpp"
#include "publishers/sources/line_splitter.hpp"
#include "publishers/sources/number.hpp"

namespace backplane::sources {
namespace {

constexpr std::size_t record_bytes_max = 1u << 20;

/// A table whose first line names the columns.
class Table : public RecordReader {
 public:
  Table(std::ifstream in, char separator) : in_(std::move(in)), csv_(in_, record_bytes_max, separator) {}

  /// @param separator what the first line is expected to have; 0: any
  Result<void> read_columns(const std::string& file, char separator) {
    const CsvReader::Next next = csv_.next();
    if (separator != 0 && next != CsvReader::Next::end) {
      if (auto usable = check_separator(file, separator); !usable) return usable;
    }
    switch (next) {
      case CsvReader::Next::end:
        return fail(ErrorCode::invalid_argument,
                    fmt::format("{}: expected a table, got an empty file", file));
      case CsvReader::Next::bad:
        return fail(ErrorCode::invalid_argument, fmt::format("{}:{}: {}", file, csv_.line(), csv_.fault()));
      case CsvReader::Next::record:
        break;
    }
    columns_ = csv_.fields();
    line_ = csv_.line();
    return {};
  }

  Next next() override {
    const CsvReader::Next next = csv_.next();
    line_ = csv_.line();
    if (next == CsvReader::Next::end) return Next::end;
    if (next == CsvReader::Next::bad) return bad(csv_.fault());
    const std::vector<std::string>& fields = csv_.fields();
    if (fields.size() != columns_.size()) {
      return bad(
          fmt::format("expected {} fields, like the first line, got {}", columns_.size(), fields.size()));
    }
    record_ = {};
    for (std::size_t i = 0; i < fields.size(); ++i) {
      if (!wire::is_utf8(fields[i]))
        return bad(fmt::format("{}: expected UTF-8, got other bytes", columns_[i]));
      if (fields[i].empty()) {
        record_.set(columns_[i], {"null", Value::Kind::literal});
      } else {
        record_.set(columns_[i], {fields[i], Value::Kind::text});
      }
    }
    return Next::record;
  }

  /// Writes numbers as JSON numbers if readers get the same text back, everything else as text.
  std::string json() const override {
    Record record;
    for (const auto& [name, value] : record_.values()) {
      const bool number = value.kind == Value::Kind::text && is_exact_number(value.text);
      record.set(name, {value.text, number ? Value::Kind::literal : value.kind});
    }
    return json::to_text(record);
  }

 private:
  /// Whether the first line has more of another separator.
  Result<void> check_separator(const std::string& file, char separator) const {
    struct Other {
      char separator;
      std::string_view name;
      std::string_view option;
    };
    constexpr std::array<Other, 4> others{
        {{',', "commas", "','"}, {';', "semicolons", "';'"}, {'\t', "tabs", "tab"}, {'|', "bars", "'|'"}}};
    const std::size_t count = count_unquoted(csv_.text(), separator);
    for (const Other& other : others) {
      if (other.separator == separator || count_unquoted(csv_.text(), other.separator) <= count) continue;
      return fail(ErrorCode::invalid_argument,
                  fmt::format("{}:{}: expected columns separated by {}, got {}; add --separator {}", file,
                              csv_.line(), separator == '\t' ? "tabs" : "commas", other.name, other.option));
    }
    return {};
  }

  Next bad(std::string fault) {
    fault_ = std::move(fault);
    return Next::bad;
  }

  std::ifstream in_;
  CsvReader csv_;
};

/// One JSON object per line. Empty lines are skipped.
class JsonLines : public RecordReader {
 public:
  explicit JsonLines(std::ifstream in) : in_(std::move(in)), lines_(record_bytes_max) {}

  Next next() override {
    do {
      if (!take_line()) return Next::end;
    } while (lines_.text().find_first_not_of(" \t") == std::string_view::npos && !lines_.too_long());
    line_ = lines_.number();
    if (lines_.too_long()) {
      fault_ = fmt::format("expected at most {} bytes per record, got more", record_bytes_max);
      return Next::bad;
    }
    auto record = json::parse_object(lines_.text());
    if (!record) {
      fault_ = record.error().text;
      return Next::bad;
    }
    record_ = std::move(*record);
    return Next::record;
  }

  std::string json() const override { return std::string(lines_.text()); }

 private:
  bool take_line() {
    while (!lines_.take_line()) {
      in_.read(chunk_.data(), static_cast<std::streamsize>(chunk_.size()));
      const auto got = static_cast<std::size_t>(in_.gcount());
      if (got == 0) return lines_.take_rest();
      lines_.feed({chunk_.data(), got});
    }
    return true;
  }

  std::ifstream in_;
  LineSplitter lines_;
  std::array<char, 64u << 10> chunk_{};
};

/// The encoding that the file's byte order mark shows if it is not UTF-8, else nothing.
std::string_view other_encoding(std::ifstream& in) {
  std::array<char, 2> mark{};
  in.read(mark.data(), mark.size());
  in.clear();
  in.seekg(0);
  const std::string_view bytes(mark.data(), mark.size());
  if (bytes == "\xff\xfe" || bytes == "\xfe\xff") return "UTF-16";
  return {};
}

Result<RecordFormat> format_of(const std::filesystem::path& file, RecordFormat format) {
  if (format != RecordFormat::by_name) return format;
  const std::string ending = file.extension().string();
  if (ending == ".csv" || ending == ".tsv") return RecordFormat::csv;
  if (ending == ".ndjson" || ending == ".jsonl" || ending == ".json") return RecordFormat::ndjson;
  return fail(
      ErrorCode::invalid_argument,
      fmt::format("{}: expected a name that ends in .csv, .tsv, .ndjson, .jsonl or .json, or --format",
                  file.string()));
}

}  // namespace

Result<std::unique_ptr<RecordReader>> RecordReader::open(const std::filesystem::path& file,
                                                         RecordFormat format, char separator) {
  const auto known = format_of(file, format);
  if (!known) return tl::unexpected(known.error());
  if (*known == RecordFormat::ndjson && separator != 0) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("{}: expected a table for --separator, got NDJSON", file.string()));
  }
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(file, error);
  // Opening a pipe could block, and a signal would not interrupt that.
  if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status)) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("{}: expected a regular file, got {}", file.string(),
                            std::filesystem::is_directory(status) ? "a directory" : "something else"));
  }
  errno = 0;
  std::ifstream in(file, std::ios::binary);
  if (!in) {
    return fail(ErrorCode::not_found,
                fmt::format("cannot read {}: {}", file.string(), std::generic_category().message(errno)));
  }
  if (const std::string_view encoding = other_encoding(in); !encoding.empty()) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("{}: expected UTF-8, got {}", file.string(), encoding));
  }
  if (*known == RecordFormat::ndjson) return std::make_unique<JsonLines>(std::move(in));
  const char usual = file.extension() == ".tsv" ? '\t' : ',';
  auto table = std::make_unique<Table>(std::move(in), separator != 0 ? separator : usual);
  if (auto columns = table->read_columns(file.string(), separator != 0 ? '\0' : usual); !columns) {
    return tl::unexpected(columns.error());
  }
  return table;
}

}  // namespace backplane::sources
