// backplane topics: lists topics with their rates, sizes and sources.

#include <algorithm>
#include <memory>

#include <fmt/format.h>

#include "cli/address_flags.hpp"
#include "cli/connection/broker_requests.hpp"
#include "cli/connection/stored_events.hpp"
#include "cli/console/colours.hpp"
#include "cli/console/live_view.hpp"
#include "cli/console/messages.hpp"
#include "cli/console/output.hpp"
#include "cli/console/topics_view.hpp"
#include "cli/console/units.hpp"
#include "cli/subcommands.hpp"
#include "core/log/escape.hpp"
#include "core/process/signals.hpp"
#include "core/time/duration.hpp"
#include "core/topic/pattern.hpp"
#include "core/wire/scan.hpp"

namespace backplane::cli {
namespace {

using namespace std::chrono_literals;

constexpr std::chrono::milliseconds reply_limit = 5s;
/// Larger values are fetched only once: their source is not worth it every second.
constexpr std::uint64_t value_bytes_max = 64u << 10;
/// Without a terminal, no line is cut.
constexpr std::size_t no_width = 1u << 20;

struct TopicsOptions {
  std::string pattern = ">";
  std::string every = "1s";
  std::string sort = "name";
  std::size_t limit{100'000};
  bool once{};
  bool json{};
  AddressFlags addresses;
};

/// Runs `backplane topics`. Lives on the main thread; owns its connections to the broker.
class TopicsCommand {
 public:
  TopicsCommand(const TopicsOptions& options, TopicOrder order, std::chrono::nanoseconds interval,
                const std::vector<BrokerEndpoints>& brokers, Waiter& waiter)
      : options_(options),
        order_(order),
        interval_(interval),
        waiter_(waiter),
        requests_(context_, brokers, waiter),
        stored_(context_, brokers, waiter) {}

  /// Prints one table, with rates measured over one interval.
  ExitCode print_once();
  ExitCode show_live();

 private:
  /// Takes a reading, and keeps the previous one for rates.
  Result<void> read();
  /// Fetches the last values of the first `rows_max` topics for their sources, if the values are new.
  void find_sources(const std::vector<TopicRow>& rows, std::size_t rows_max);
  std::vector<ScreenLine> draw(ScreenSize size);

  const TopicsOptions& options_;
  TopicOrder order_;
  std::chrono::nanoseconds interval_;
  Waiter& waiter_;
  mq::Context context_;
  BrokerRequests requests_;
  StoredEvents stored_;
  TopicsReading now_;
  std::optional<TopicsReading> before_;
  SourcesByTopic sources_;
  std::map<std::string, std::uint64_t> fetched_offsets_;  // of the last value fetched, by topic
  std::size_t rows_shown_{50};
  std::string problem_;  // why the last reading failed
};

Result<void> TopicsCommand::read() {
  auto found = requests_.topics(options_.pattern, options_.limit, reply_limit);
  if (!found) return tl::unexpected(found.error());
  if (now_.taken != Waiter::Clock::time_point{}) before_ = std::move(now_);
  now_ = {std::move(found->topics), found->all, Waiter::Clock::now(), unix_now_ns()};
  return {};
}

void TopicsCommand::find_sources(const std::vector<TopicRow>& rows, std::size_t rows_max) {
  std::vector<std::string> new_values;
  for (std::size_t at = 0; at < std::min(rows.size(), rows_max); ++at) {
    const TopicInfo& topic = *rows[at].topic;
    std::uint64_t& fetched = fetched_offsets_[topic.name];
    const bool worthwhile = fetched == 0 || topic.value_bytes <= value_bytes_max;
    if (topic.value_bytes == 0 || fetched == topic.offset || !worthwhile) continue;
    fetched = topic.offset;
    new_values.push_back(topic.name);
  }
  if (new_values.empty()) return;
  const auto values = stored_.last_values(new_values, reply_limit);
  if (!values) return;  // show the table without new sources
  for (const StoredEvent& value : *values) {
    const auto scan = wire::scan_event(wire::without_stamp(value.bytes()));
    if (scan.fault == wire::EventFault::none) sources_[value.topic].emplace(scan.event.source);
  }
}

ExitCode TopicsCommand::print_once() {
  for (int reading = 0; reading < 2; ++reading) {
    if (const auto read_it = read(); !read_it) return print_error("topics", read_it.error());
    const auto next = now_.taken + std::chrono::duration_cast<Waiter::Clock::duration>(interval_);
    while (reading == 0 && waiter_.wait({}, next) && Waiter::Clock::now() < next) {
    }
  }
  const std::vector<TopicRow> rows = topic_rows(now_, before_, order_);
  find_sources(rows, rows.size());
  Output output;
  if (options_.json) {
    for (const TopicRow& row : rows) output.line(topic_json(row, now_, sources_));
  } else {
    const Colours colours(output.fd());
    Style style = Style::heading;
    for (const std::string& line : topics_table(rows, now_, sources_, rows.size()).lines(no_width)) {
      output.line(colours.paint(style, line));
      style = Style::plain;
    }
  }
  output.flush();
  if (!now_.all) {
    print_message("topics", fmt::format("only the first {} topics are shown (see --limit)", options_.limit));
  }
  if (output.problem().empty()) return ExitCode::done;
  print_message("topics", output.problem());
  return ExitCode::failed;
}

std::vector<ScreenLine> TopicsCommand::draw(ScreenSize size) {
  using Style = ScreenLine::Style;
  const std::vector<TopicRow> rows = topic_rows(now_, before_, order_);
  rows_shown_ = size.rows > 2 ? size.rows - 2 : 0;
  std::vector<ScreenLine> lines;
  lines.push_back(
      {fmt::format("backplane topics {}   {}{} at {}   every {}, q quits", log::escape(options_.pattern),
                   now_.all ? "" : "the first ", counted(rows.size(), "topic"), requests_.broker().control,
                   format_duration(interval_)),
       Style::plain});
  if (!problem_.empty()) lines.push_back({log::escape(problem_), Style::alarm});
  bool heading = true;
  for (std::string& line : topics_table(rows, now_, sources_, rows_shown_).lines(size.columns)) {
    lines.push_back({std::move(line), heading ? Style::heading : Style::plain});
    heading = false;
  }
  return lines;
}

ExitCode TopicsCommand::show_live() {
  if (const auto read_it = read(); !read_it) return print_error("topics", read_it.error());
  LiveView view;
  view.interval = interval_;
  view.read = [this] {
    const auto read_it = read();
    problem_ = read_it ? "" : read_it.error().text;
    if (read_it) find_sources(topic_rows(now_, before_, order_), rows_shown_);
  };
  view.draw = [this](ScreenSize size) { return draw(size); };
  cli::show_live(view, waiter_);
  return ExitCode::done;
}

ExitCode run_topics(const TopicsOptions& options) {
  if (const auto pattern = Pattern::parse(options.pattern); !pattern) {
    print_message("topics", "PATTERN: " + pattern.error().text);
    return ExitCode::usage;
  }
  const auto order = parse_topic_order(options.sort);
  if (!order) {
    print_message("topics",
                  fmt::format("--sort: expected name, rate, bytes, offset or age, got \"{}\"", options.sort));
    return ExitCode::usage;
  }
  const auto interval = parse_interval(options.every);
  if (!interval) return print_error("topics", interval.error());
  const auto brokers = resolve(options.addresses);
  if (!brokers) return print_error("topics", brokers.error());

  const bool live = !options.once && !options.json && Screen::available();
  Waiter waiter;
  if (!live) return TopicsCommand(options, *order, *interval, *brokers, waiter).print_once();
  Signals signals(
      Signals::Hangup::stop);  // before libzmq starts its threads, because they inherit the signal mask
  waiter.on_readable(signals.fd(), [&] {
    if (signals.next() == Signals::Event::stop) waiter.stop();
  });
  return TopicsCommand(options, *order, *interval, *brokers, waiter).show_live();
}

}  // namespace

void add_topics(const Command& program) {
  auto options = std::make_shared<TopicsOptions>();
  const Command command =
      program.add_command("topics", "List topics with their rates, sizes, offsets, ages and sources");
  command.add_option("PATTERN", options->pattern, "Topics to list; $SYS.> lists the system's topics")
      .value_name("")
      .show_default();
  command.add_option("-e,--every", options->every, "Interval between readings, over which rates are measured")
      .value_name("DURATION")
      .show_default();
  command.add_option("--sort", options->sort, "Sort by name, rate, bytes, offset or age")
      .value_name("ORDER")
      .show_default();
  command.add_option("--limit", options->limit, "Read only the first N topics, by name")
      .value_name("N")
      .range(1, 10'000'000)
      .show_default();
  command.add_flag("--once", options->once, "Print one table and exit (default without a terminal)");
  command.add_flag("-j,--json", options->json, "Print one JSON object per topic and exit");
  add_address_flags(command, options->addresses);
  command.set_footer(
      "Examples:\n"
      "  backplane topics\n"
      "  backplane topics 'stock.>' --once --sort rate\n"
      "  backplane topics --broker host7 --key me.key --server-key broker.pub");
  command.set_run([options] { return run_topics(*options); });
}

}  // namespace backplane::cli
