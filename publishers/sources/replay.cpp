#include "publishers/sources/replay.hpp"

#include <algorithm>

#include <fmt/format.h>
#include <google/protobuf/message.h>

#include "publishers/sources/pace.hpp"
#include "publishers/sources/topic_token.hpp"

namespace backplane::sources {
namespace {

using Next = RecordReader::Next;

constexpr double speed_max = 1e12;

/// An event made from a record.
struct ReplayedEvent {
  std::string topic;
  std::unique_ptr<google::protobuf::Message> message;  // null: use the text
  std::string text;
};

Result<std::optional<double>> check_pace(const SourceOptions& options, const ReplayOptions& replay,
                                         const ReplayPlan& plan) {
  const int paces = (options.every ? 1 : 0) + (replay.rate ? 1 : 0) + (replay.speed ? 1 : 0);
  if (paces > 1) {
    return fail(ErrorCode::invalid_argument, "expected only one of --every, --rate and --speed, got several");
  }
  const double speed = replay.speed.value_or(1);
  if (!(speed > 0 && speed <= speed_max)) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("--speed: expected more than 0 and at most {}, got {}", speed_max, speed));
  }
  const auto rate = even_rate(options, replay.rate);
  if (!rate) return tl::unexpected(rate.error());
  if (*rate || replay.speed || plan.rate_default == 0) return *rate;
  return std::optional(plan.rate_default);
}

/// Publishes the records of a file. Lives on the source's thread.
class Replay {
 public:
  Replay(const ReplayOptions& options, const ReplayPlan& plan, std::optional<Mapping> mapping,
         std::optional<double> rate)
      : options_(options), plan_(plan), mapping_(std::move(mapping)), rate_(rate) {}

  /// Opens the file and checks that it has the required columns.
  Result<std::unique_ptr<RecordReader>> open() const {
    auto reader = RecordReader::open(options_.file, options_.format, options_.separator);
    if (!reader || (*reader)->columns().empty() || !mapping_) return reader;
    const std::string where = fmt::format("{}:{}", options_.file.string(), (*reader)->line());
    if (auto usable = mapping_->check_columns((*reader)->columns(), where); !usable) {
      return tl::unexpected(usable.error());
    }
    return reader;
  }

  ExitCode run(Runner& runner) {
    EvenPace even(rate_.value_or(1), timer_.now_ns());
    DataPace own(options_.speed.value_or(1));
    for (;;) {
      // The file is opened again for each pass, so a new file that took its place is read then.
      auto reader = open();
      if (!reader) return runner.fail(reader.error().text);
      bool played = false;
      for (Next next = (*reader)->next(); next != Next::end; next = (*reader)->next()) {
        const std::string where = fmt::format("{}:{}", options_.file.string(), (*reader)->line());
        const auto record_ns = time_of(**reader, next, where);
        const auto event = record_ns.and_then([&](std::int64_t) { return make(**reader, where); });
        if (!event) {
          if (!runner.bad_record(event.error().text)) return runner.finish();
          continue;
        }
        const std::int64_t now_ns = timer_.now_ns();
        const std::int64_t due_ns = rate_ ? even.next(now_ns) : own.next(*record_ns, now_ns);
        if (!runner.wait_until(timer_, due_ns) || !publish(runner, where, *event)) return runner.finish();
        played = true;
      }
      if (!played) {
        return runner.fail(
            fmt::format("{}: expected at least one usable record, got none", options_.file.string()),
            ExitCode::usage);
      }
      if (options_.once) return runner.finish();
    }
  }

 private:
  /// The value of a field of the type, or else of a column.
  [[nodiscard]] const Value* find(const Record& record, const std::string& field) const {
    const Value* const value = mapping_ ? mapping_->find(record, field) : nullptr;
    return value != nullptr ? value : record.find(field);
  }

  /// When the record's event happened; 0 if the pace does not depend on it.
  [[nodiscard]] Result<std::int64_t> time_of(const RecordReader& reader, Next next,
                                             std::string_view where) const {
    if (next == Next::bad) {
      return fail(ErrorCode::protocol, fmt::format("{}: {}", where, reader.fault()));
    }
    if (rate_) return 0;
    const std::string there = fmt::format("{}: {}", where, plan_.time_field);
    const Value* const value = find(reader.record(), plan_.time_field);
    if (value == nullptr) return fail(ErrorCode::protocol, there + ": expected a time, got nothing");
    return read_time(*value, options_.time_unit, there);
  }

  [[nodiscard]] Result<ReplayedEvent> make(const RecordReader& reader, std::string_view where) const {
    ReplayedEvent event;
    event.topic = plan_.topic;
    if (!plan_.topic_field.empty()) {
      const Value* const token = find(reader.record(), plan_.topic_field);
      if (token == nullptr || token->text.empty()) {
        return fail(ErrorCode::protocol, fmt::format("{}: {}: expected a part of the topic, got nothing",
                                                     where, plan_.topic_field));
      }
      event.topic.append(1, '.').append(topic_token(token->text));
    }
    if (!mapping_) {
      event.text = reader.json();
      return event;
    }
    auto message = mapping_->message(reader.record(), where);
    if (!message) return tl::unexpected(message.error());
    event.message = std::move(*message);
    if (plan_.finish) plan_.finish(*event.message);
    return event;
  }

  static bool publish(Runner& runner, std::string_view where, const ReplayedEvent& event) {
    return event.message ? runner.publish(where, event.topic, *event.message)
                         : runner.publish_text(where, event.topic, event.text);
  }

  const ReplayOptions& options_;
  const ReplayPlan& plan_;
  std::optional<Mapping> mapping_;
  std::optional<double> rate_;
  Timer timer_{CLOCK_MONOTONIC};
};

}  // namespace

ExitCode run_replayed(const SourceOptions& options, std::string_view source, const ReplayOptions& replay,
                      const ReplayPlan& plan, Signals& signals) {
  if (auto usable = check_source_topic(plan.topic); !usable) return wrong_usage(usable.error().text);
  const auto rate = check_pace(options, replay, plan);
  if (!rate) return wrong_usage(rate.error().text);
  std::optional<Mapping> mapping;
  if (!plan.type.empty()) {
    auto made = Mapping::make(plan.type, plan.rules, replay.columns, replay.time_unit);
    if (!made) return wrong_usage(made.error().text);
    mapping = std::move(*made);
  }
  Replay player(replay, plan, std::move(mapping), *rate);
  if (auto usable = player.open(); !usable) return wrong_usage(usable.error().text);
  return run_source(options, source, signals, [&](Runner& runner) { return player.run(runner); });
}

}  // namespace backplane::sources
