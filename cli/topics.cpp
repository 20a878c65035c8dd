// backplane topics: what there is, how much of it, from whom.

#include <algorithm>
#include <memory>

#include <fmt/format.h>

#include "cli/address_flags.hpp"
#include "cli/connection/broker_requests.hpp"
#include "cli/connection/stored_events.hpp"
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
/// A large value is not fetched again each second only to see who sent it.
constexpr std::uint64_t value_bytes_max = 64u << 10;
/// Without a terminal lines are as long as they are.
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

/// One `backplane topics`. Lives on the main thread; owns its connections to the broker.
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

  /// Prints one table, its rates taken over one interval.
  ExitCode print_once();
  ExitCode show_live();

 private:
  /// Takes a reading; the last one becomes the one before.
  Result<void> read();
  /// Looks who sent the last values of these.
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
  std::map<std::string, std::uint64_t> looked_at_;  // offset, by topic
  std::size_t rows_shown_{50};
  std::string problem_;  // why there is no newer reading
};

Result<void> TopicsCommand::read() {
  auto found = requests_.topics(options_.pattern, options_.limit, reply_limit);
  if (!found) return tl::unexpected(found.error());
  if (now_.taken != Waiter::Clock::time_point{}) before_ = std::move(now_);
  now_ = {std::move(found->topics), found->all, Waiter::Clock::now(), unix_now_ns()};
  return {};
}

void TopicsCommand::find_sources(const std::vector<TopicRow>& rows, std::size_t rows_max) {
  std::vector<std::string> wanted;
  for (std::size_t at = 0; at < std::min(rows.size(), rows_max); ++at) {
    const TopicInfo& topic = *rows[at].topic;
    std::uint64_t& looked_at = looked_at_[topic.name];
    const bool again = looked_at == 0 || topic.value_bytes <= value_bytes_max;
    if (topic.value_bytes == 0 || looked_at == topic.offset || !again) continue;
    looked_at = topic.offset;
    wanted.push_back(topic.name);
  }
  if (wanted.empty()) return;
  const auto values = stored_.last_values(wanted, reply_limit);
  if (!values) return;  // the table is worth showing without
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
    for (const std::string& line : topics_table(rows, now_, sources_, rows.size()).lines(no_width)) {
      output.line(line);
    }
  }
  output.flush();
  if (!now_.all) {
    print_message("topics", fmt::format("there are more than {} topics: these are the first (see --limit)",
                                        options_.limit));
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
                   now_.all ? "" : "the first of more: ", counted(rows.size(), "topic"),
                   requests_.broker().control, format_duration(interval_)),
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
                  fmt::format("--sort: wanted name, rate, bytes, offset or age, got \"{}\"", options.sort));
    return ExitCode::usage;
  }
  const auto interval = parse_interval(options.every);
  if (!interval) return print_error("topics", interval.error());
  const auto brokers = resolve(options.addresses);
  if (!brokers) return print_error("topics", brokers.error());

  const bool live = !options.once && !options.json && Screen::available();
  Waiter waiter;
  if (!live) return TopicsCommand(options, *order, *interval, *brokers, waiter).print_once();
  Signals signals;  // before libzmq's threads, so that they inherit the mask
  waiter.on_readable(signals.fd(), [&] {
    if (signals.next() == Signals::Event::stop) waiter.stop();
  });
  return TopicsCommand(options, *order, *interval, *brokers, waiter).show_live();
}

}  // namespace

void add_topics(const Command& program) {
  auto options = std::make_shared<TopicsOptions>();
  const Command command =
      program.add_command("topics", "Show the topics: rate, bytes, last offset, age, sources");
  command.add_option("PATTERN", options->pattern, "Which ones; $SYS.> shows the system's own")
      .value_name("")
      .show_default();
  command.add_option("--every", options->every, "From reading to reading, over which rates are taken")
      .value_name("DURATION")
      .show_default();
  command.add_option("--sort", options->sort, "name, rate, bytes, offset or age")
      .value_name("ORDER")
      .show_default();
  command.add_option("--limit", options->limit, "Look at this many topics at most")
      .value_name("N")
      .range(1, 10'000'000)
      .show_default();
  command.add_flag("--once", options->once,
                   "Print one table and end; so it is anyway where there is no terminal");
  command.add_flag("--json", options->json, "Like --once, with one JSON object a line");
  add_address_flags(command, options->addresses);
  command.set_footer(
      "Example:\n"
      "  backplane topics\n"
      "  backplane topics 'stock.>' --once --sort rate");
  command.set_run([options] { return run_topics(*options); });
}

}  // namespace backplane::cli
