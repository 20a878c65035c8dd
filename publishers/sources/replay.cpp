#include "publishers/sources/replay.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <system_error>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <google/protobuf/message.h>

#include "publishers/sources/csv.hpp"
#include "publishers/sources/pace.hpp"

namespace backplane::sources {
namespace {

constexpr double rate_max = 1e6;

Result<std::ifstream> open(const std::filesystem::path& file) {
  std::error_code error;
  if (std::filesystem::is_directory(file, error)) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("{}: wanted a CSV file, got a directory", file.string()));
  }
  errno = 0;
  std::ifstream in(file, std::ios::binary);
  if (!in) {
    return fail(ErrorCode::not_found,
                fmt::format("cannot read {}: {}", file.string(), std::generic_category().message(errno)));
  }
  return in;
}

/// The first record: the columns' names.
Result<std::vector<std::size_t>> find_columns(CsvReader& reader, const std::string& file,
                                              std::span<const std::string_view> columns) {
  const CsvReader::Next first = reader.next();
  if (first == CsvReader::Next::end) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("{}: wanted columns {}, got an empty file", file, fmt::join(columns, ", ")));
  }
  if (first == CsvReader::Next::bad) {
    return fail(ErrorCode::invalid_argument, fmt::format("{}:{}: {}", file, reader.line(), reader.fault()));
  }
  std::vector<std::size_t> indices;
  for (const std::string_view column : columns) {
    const auto found = std::find(reader.fields().begin(), reader.fields().end(), column);
    if (found == reader.fields().end()) {
      return fail(ErrorCode::invalid_argument,
                  fmt::format("{}:{}: wanted columns {}, got {}", file, reader.line(),
                              fmt::join(columns, ", "), fmt::join(reader.fields(), ", ")));
    }
    indices.push_back(static_cast<std::size_t>(found - reader.fields().begin()));
  }
  return indices;
}

/// The wanted values of the reader's record.
Result<std::vector<std::string>> pick(const CsvReader& reader, std::span<const std::size_t> indices,
                                      std::string_view where) {
  std::vector<std::string> values;
  for (const std::size_t index : indices) {
    if (index >= reader.fields().size()) {
      return fail(ErrorCode::invalid_argument, fmt::format("{}: wanted at least {} fields, got {}", where,
                                                           index + 1, reader.fields().size()));
    }
    values.push_back(reader.fields()[index]);
  }
  return values;
}

}  // namespace

Result<std::vector<std::size_t>> check_replay(const ReplayOptions& replay,
                                              std::span<const std::string_view> columns) {
  if (!(replay.rate > 0 && replay.rate <= rate_max)) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("--rate: wanted more than 0 and at most {} events a second, got {}", rate_max,
                            replay.rate));
  }
  auto in = open(replay.csv);
  if (!in) return tl::unexpected(in.error());
  CsvReader reader(*in);
  return find_columns(reader, replay.csv.string(), columns);
}

ExitCode replay_csv(Runner& runner, const ReplayOptions& replay, std::span<const std::string_view> columns,
                    const MakeEvent& make_event) {
  const std::string file = replay.csv.string();
  Timer timer(CLOCK_MONOTONIC);
  EvenPace pace(replay.rate, timer.now_ns());
  for (;;) {
    // The file is opened anew each time round, so a new one that took its place is read then.
    auto in = open(replay.csv);
    if (!in) {
      log::error("{}", in.error().text);
      return std::max(runner.finish(), ExitCode::failed);
    }
    CsvReader reader(*in);
    const auto indices = find_columns(reader, file, columns);
    if (!indices) {
      log::error("{}", indices.error().text);
      return std::max(runner.finish(), ExitCode::failed);
    }
    bool played = false;
    for (CsvReader::Next next = reader.next(); next != CsvReader::Next::end; next = reader.next()) {
      const std::string where = fmt::format("{}:{}", file, reader.line());
      if (next == CsvReader::Next::bad) {
        if (!runner.bad_record(fmt::format("{}: {}", where, reader.fault()))) return runner.finish();
        continue;
      }
      const auto event = pick(reader, *indices, where).and_then([&](const auto& values) {
        return make_event(values, where);
      });
      if (!event) {
        if (!runner.bad_record(event.error().text)) return runner.finish();
        continue;
      }
      timer.set(pace.next(timer.now_ns()));
      if (!runner.wait(timer.fd())) return runner.finish();
      if (!runner.publish(where, event->topic, *event->message)) return runner.finish();
      played = true;
    }
    if (!played) return wrong_usage(fmt::format("{}: no record that can be used", file));
    if (replay.once) return runner.finish();
  }
}

Result<double> parse_number(std::string_view text, std::string_view where) {
  double value = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || stop != text.data() + text.size() || !std::isfinite(value)) {
    return fail(ErrorCode::invalid_argument, fmt::format("{}: wanted a number, got \"{}\"", where, text));
  }
  return value;
}

}  // namespace backplane::sources
