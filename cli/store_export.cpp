// backplane store export: writes a store's events to a file that `replay --from` reads.

#include <algorithm>
#include <memory>
#include <optional>
#include <set>

#include <fmt/format.h>

#include "broker/store/event_log.hpp"
#include "broker/store/store_directory.hpp"
#include "cli/console/event_writer.hpp"
#include "cli/console/messages.hpp"
#include "cli/console/output_file.hpp"
#include "cli/console/progress_line.hpp"
#include "cli/console/units.hpp"
#include "cli/store_options.hpp"
#include "cli/sub_options.hpp"
#include "cli/subcommands.hpp"
#include "core/log/escape.hpp"
#include "core/log/line_writer.hpp"
#include "core/payload/payload_json.hpp"
#include "core/process/signals.hpp"
#include "core/time/duration.hpp"
#include "core/topic/pattern.hpp"

namespace backplane::cli {
namespace {

using broker::store::LostEvents;
using broker::store::Record;
using broker::store::StoreDamage;
using broker::store::StoredIncarnation;
using broker::store::StoreListener;
using broker::store::StoreReader;

constexpr std::int64_t any_time = std::numeric_limits<std::int64_t>::min();

struct ExportFlags {
  std::string path;
  std::vector<std::string> patterns;
  std::string to;
  std::string since;
  std::string format = "proto";
};

tl::unexpected<Error> wrong(std::string text) {
  return fail(ErrorCode::invalid_argument, std::move(text));
}

/// Which events are exported.
struct Selection {
  std::vector<Pattern> patterns;
  std::int64_t since_ns{any_time};  ///< when the broker received them
  /// Of these streams only, after a position or an offset of each.
  struct After {
    std::uint64_t stream;
    std::uint64_t position;
    std::uint64_t offset;
  };
  std::optional<std::vector<After>> after;

  [[nodiscard]] bool matches(std::string_view topic) const {
    return std::ranges::any_of(patterns, [&](const Pattern& each) { return each.matches(topic); });
  }
  [[nodiscard]] bool has(std::uint64_t stream, const Record& event) const {
    if (!matches(event.name)) return false;
    if (since_ns != any_time && wire::read_stamp(event.event())->received_ns < since_ns) return false;
    if (!after) return true;
    const auto found = std::ranges::find(*after, stream, &After::stream);
    return found != after->end() && event.position > found->position && event.offset > found->offset;
  }
};

Result<std::vector<Pattern>> parse_patterns(const std::vector<std::string>& texts) {
  std::vector<Pattern> patterns;
  for (const std::string& text : texts.empty() ? std::vector<std::string>{">"} : texts) {
    auto pattern = Pattern::parse(text);
    if (!pattern) return wrong("PATTERN: " + pattern.error().text);
    patterns.push_back(std::move(*pattern));
  }
  return patterns;
}

/// Adds --since to the selection.
Result<void> select_since(const ExportFlags& flags, const StoreReader& reader, Selection& selection) {
  if (flags.since.empty()) return {};
  const auto since = since_option(flags.since);
  if (!since) return tl::unexpected(since.error());
  if (const auto* const ago = std::get_if<std::chrono::nanoseconds>(&*since)) {
    selection.since_ns = unix_now_ns() - ago->count();
    return {};
  }
  selection.after.emplace();
  if (const auto* const offset = std::get_if<AfterOffset>(&*since)) {
    if (selection.patterns.size() != 1 || !selection.patterns.front().is_exact())
      return wrong("--since: expected a duration or a resume token for several topics, got an offset");
    for (const StoredIncarnation& each : reader.incarnations()) {
      if (each.is_current) selection.after->push_back({each.stream, 0, offset->offset});
    }
    return {};
  }
  // Everything behind the position: the later incarnations too.
  const auto& token = std::get<AfterPositions>(*since).positions;
  bool is_behind = false;
  for (const StoredIncarnation& each : reader.incarnations()) {
    const auto position = position_in(token, each.stream);
    if (position) {
      selection.after->clear();
      is_behind = true;
    }
    if (is_behind) selection.after->push_back({each.stream, position.value_or(0), 0});
  }
  if (!is_behind)
    return wrong(
        fmt::format("--since: expected a position of a stream in this store, got \"{}\"", flags.since));
  return {};
}

/// Writes the events that read() finds. Lives on the main thread.
class Export final : public StoreListener {
 public:
  Export(const Selection& selection, OutputFormat format, Output& output, Waiter& waiter)
      : selection_(selection),
        writer_(format),
        output_(output),
        waiter_(waiter),
        progress_("backplane store export") {}

  void on_types(std::string_view descriptor_set) override {
    (void)writer_.payloads().add_types(descriptor_set);
  }

  void on_event(std::uint64_t stream, const Record& event) override {
    if (!selection_.has(stream, event)) return;
    const auto [found, is_new] = topics_.try_emplace(std::string(event.name), stream);
    if (found->second != stream) {
      writer_.reset(event.name, stream, output_.buffer());
      found->second = stream;
    }
    if (wire::lost_events(event.event()) > 0) {
      writer_.gap(event.name, stream, event.first_offset, event.offset, "lost_upstream", output_.buffer());
      if (output_.full()) output_.flush();
      return;
    }
    if (writer_.event(event.name, event.event(), *wire::read_stamp(event.event()), output_.buffer())) {
      ++events_;
    } else {
      ++invalid_;
    }
    if (output_.full()) output_.flush();
  }

  void on_damage(const StoreDamage& damage) override {
    if (damage.file.ends_with(broker::store::log_suffix)) ++places_;
  }

  void on_lost(const LostEvents& lost, const Record* next) override {
    if (!selection_.matches(lost.topic)) return;
    if (next != nullptr && !selection_.has(lost.stream, *next)) return;
    writer_.gap(lost.topic, lost.stream, lost.first, lost.last, "damaged", output_.buffer());
    if (!lost_.add(lost)) return;
    progress_.erase();
    print_message("store export", lost_text(lost));
  }

  bool on_progress(std::uint64_t bytes, std::uint64_t bytes_all) override {
    (void)waiter_.wait({}, Waiter::Clock::time_point::min());
    progress_.show(bytes, bytes_all, ProgressLine::Clock::now());
    return !waiter_.stopped() && !output_.closed();
  }

  void finish() {
    progress_.erase();
    output_.flush();
  }
  /// Says what the file does not have. @returns whether that may be anything.
  bool print_left_out() {
    if (lost_.unlisted() > 0)
      print_message("store export", fmt::format("{} more of these", grouped(lost_.unlisted())));
    if (invalid_ > 0)
      print_message("store export", fmt::format("{} left out: expected an event, got other bytes",
                                                counted(invalid_, "record")));
    const bool is_complete = places_ == 0 && lost_.events() == 0 && invalid_ == 0;
    if (!is_complete) {
      print_message("store export",
                    fmt::format("the store is damaged in {}: {} of {} left out (see backplane store verify)",
                                counted(places_, "place"), counted(lost_.events(), "event"),
                                counted(lost_.topics(), "topic")));
    }
    return !is_complete;
  }
  [[nodiscard]] std::uint64_t events() const noexcept { return events_; }
  [[nodiscard]] std::size_t topics() const noexcept { return topics_.size(); }

 private:
  const Selection& selection_;
  EventWriter writer_;
  Output& output_;
  Waiter& waiter_;
  ProgressLine progress_;
  std::map<std::string, std::uint64_t, std::less<>> topics_;  // with the stream of their last event
  std::uint64_t events_{0};
  std::uint64_t invalid_{0};
  std::uint64_t places_{0};
  LostCount lost_;
};

Result<std::string> find_one(const std::string& path) {
  auto paths = broker::store::find_stores(path);
  if (!paths) return tl::unexpected(paths.error());
  if (paths->size() == 1) return paths->front();
  return wrong(
      fmt::format("{}: expected one store, got {}: {}", path, paths->size(), fmt::join(*paths, ", ")));
}

ExitCode run_export(const ExportFlags& flags) {
  Selection selection;
  auto patterns = parse_patterns(flags.patterns);
  if (!patterns) return print_error("store export", patterns.error());
  selection.patterns = std::move(*patterns);
  const auto format = parse_output_format(flags.format);
  if (!format) {
    return print_error(
        "store export",
        Error{ErrorCode::invalid_argument,
              fmt::format("--format: expected proto, json, text, text+offset or value, got \"{}\"",
                          flags.format)});
  }
  const auto path = find_one(flags.path);
  if (!path) return print_error("store export", path.error());
  const auto store = open_store(*path);
  if (!store) return print_error("store export", store.error());
  if (auto ok = select_since(flags, *store->reader, selection); !ok)
    return print_error("store export", ok.error());

  Signals signals(Signals::Hangup::stop);  // before the file exists, which a signal would leave behind
  auto file = OutputFile::open(flags.to);
  if (!file) return print_error("store export", file.error());
  Waiter waiter;
  waiter.on_readable(signals.fd(), [&] {
    if (signals.next() == Signals::Event::stop) waiter.stop();
  });
  Output output(file->fd(), file->name(), &waiter);
  Export events(selection, *format, output, waiter);
  const auto complete = store->reader->read(events, selection.since_ns);
  events.finish();
  if (!output.problem().empty()) {
    print_message("store export", output.problem());
    return ExitCode::failed;
  }
  if (!complete) return print_error("store export", complete.error());
  if (waiter.stopped()) {
    print_message("store export",
                  file->replaces() ? fmt::format("interrupted; {} is unchanged", flags.to) : "interrupted");
    return ExitCode::failed;
  }
  if (auto committed = file->commit(); !committed) return print_error("store export", committed.error());
  print_store_notes("store export", *store);
  const bool is_damaged = events.print_left_out();
  if (!output.closed()) {
    const std::string line = fmt::format("{} of {} written to {}", counted(events.events(), "event"),
                                         counted(events.topics(), "topic"), log::escape(flags.to));
    if (flags.to == "-") {
      print_error_line(line);
    } else {
      log::standard_output().write(line + '\n');
    }
  }
  return is_damaged ? ExitCode::gaps : ExitCode::done;
}

}  // namespace

void add_store_export(const Command& store) {
  auto flags = std::make_shared<ExportFlags>();
  const Command command = store.add_command(
      "export",
      "Write a store's events to a file that replay --from reads (exit code 3 if some are damaged)");
  command.add_option("DIR", flags->path, "The store").required().value_name("");
  command.add_option("PATTERN", flags->patterns, "Topics to write (default: >, all)").value_name("");
  command.add_option("--to", flags->to, "Write to this file (-: standard output)")
      .required()
      .value_name("FILE");
  command
      .add_option(
          "-s,--since", flags->since,
          "Only events of this period (10m), after an offset of one topic (17), or after a resume token")
      .value_name("10m|OFFSET|TOKEN");
  command.add_option("-f,--format", flags->format, "Format of the file, as for replay")
      .value_name("FORMAT")
      .show_default();
  command.set_footer(
      "Examples:\n"
      "  backplane store export ./data/default 'stock.>' --to stock.events\n"
      "  backplane store export ./data/default --to - --format json --since 1h");
  command.set_run([flags] { return run_export(*flags); });
}

}  // namespace backplane::cli
