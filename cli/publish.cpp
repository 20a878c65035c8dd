// backplane publish SOURCE: one of the publishers that come with Backplane.

#include <memory>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "cli/addresses.hpp"
#include "cli/command.hpp"
#include "core/config/size.hpp"
#include "core/log/log.hpp"
#include "core/process/signals.hpp"
#include "core/time/duration.hpp"
#include "core/topic/topic.hpp"
#include "publishers/sources/sources.hpp"

namespace backplane::cli {
namespace {

/// What all sources have on the command line.
struct SourceFlags {
  std::string topic;
  std::string every;
  std::string source_name;
  std::string on_error = "skip";
  std::string max_event_bytes = "1MiB";
  std::string log_level = "info";
  AddressFlags addresses;
};

struct ReplayFlags {
  std::string csv;
  double rate = 1;
  bool once{};
};

/// A source to choose: its subcommand, and what runs it with its options as they were given.
struct Source {
  CLI::App* app;
  std::shared_ptr<SourceFlags> flags;
  std::function<ExitCode(const sources::SourceOptions&, Signals&)> run;
};

Result<sources::SourceOptions> source_options(const SourceFlags& flags) {
  sources::SourceOptions options;
  options.topic = flags.topic;
  options.source_name = flags.source_name;
  if (!flags.topic.empty()) {
    if (const TopicFault fault = check_topic(flags.topic); fault != TopicFault::none) {
      return fail(ErrorCode::invalid_argument, "--topic: " + backplane::describe(fault, flags.topic));
    }
  }
  if (!flags.every.empty()) {
    const auto every = parse_duration(flags.every, "--every");
    if (!every) return tl::unexpected(every.error());
    if (every->count() == 0)
      return fail(ErrorCode::invalid_argument, "--every: wanted more than 0, got \"0\"");
    options.every = *every;
  }
  if (flags.on_error != "skip" && flags.on_error != "fail") {
    return fail(ErrorCode::invalid_argument,
                fmt::format("--on-error: wanted skip or fail, got \"{}\"", flags.on_error));
  }
  options.fail_on_error = flags.on_error == "fail";
  const auto bytes = config::parse_size(flags.max_event_bytes, "--max-event-bytes");
  if (!bytes) return tl::unexpected(bytes.error());
  options.max_event_bytes = *bytes;
  const auto brokers = resolve(flags.addresses);
  if (!brokers) return tl::unexpected(brokers.error());
  options.brokers.clear();
  for (const BrokerAddress& broker : *brokers) options.brokers.push_back({broker.ingress, broker.control});
  return options;
}

ExitCode run_publish(const Source& source) {
  const std::string name = "publish " + source.app->get_name();
  const auto level = log::parse_level(source.flags->log_level);
  if (!level) {
    complain(name, "--log-level: " + level.error().text);
    return ExitCode::usage;
  }
  const auto options = source_options(*source.flags);
  if (!options) return complain(name, options.error());
  log::set_program(source.app->get_name());
  log::set_level(*level);
  Signals signals;
  return source.run(*options, signals);
}

/// Adds a source with the options that all have. `paced`: --every means something to it.
Source add_source(CLI::App& publish, const std::string& name, const std::string& about, bool paced) {
  Source source{publish.add_subcommand(name, about), std::make_shared<SourceFlags>(), {}};
  CLI::App& app = *source.app;
  SourceFlags& flags = *source.flags;
  app.add_option("--topic", flags.topic, "The topic, or what stands for its first part");
  if (paced) app.add_option("--every", flags.every, "From event to event")->type_name("DURATION");
  app.add_option("--source-name", flags.source_name, "Who we are; by default " + name + "@<host>")
      ->type_name("NAME");
  app.add_option("--on-error", flags.on_error, "skip or fail: what a bad record does")->capture_default_str();
  app.add_option("--max-event-bytes", flags.max_event_bytes, "Largest event")
      ->type_name("SIZE")
      ->capture_default_str();
  app.add_option("--log-level", flags.log_level, "debug, info, warning, error or off")
      ->type_name("LEVEL")
      ->capture_default_str();
  add_addresses(app, flags.addresses);
  return source;
}

CLI::Option* add_replay(CLI::App& app, ReplayFlags& flags, const std::string& about) {
  CLI::Option* csv = app.add_option("--csv", flags.csv, about)->type_name("FILE");
  app.add_option("--rate", flags.rate, "Records a second")
      ->type_name("N")
      ->check(CLI::Range(0.000'001, 10'000'000.0).description(""))
      ->capture_default_str();
  app.add_flag("--once", flags.once, "End at the file's end, instead of beginning again");
  return csv;
}

Source add_clock(CLI::App& publish) {
  Source source = add_source(publish, "clock", "The time, each second or --every, on topic clock", true);
  source.app->footer("Example:\n  backplane publish clock --every 250ms");
  source.run = [](const sources::SourceOptions& options, Signals& signals) {
    return sources::run_clock(options, signals);
  };
  return source;
}

Source add_thermometer(CLI::App& publish) {
  Source source =
      add_source(publish, "thermometer",
                 "This machine's sensors on temperature.<sensor> and its load on load, or a file's "
                 "readings",
                 true);
  struct Flags {
    ReplayFlags replay;
    sources::ThermometerOptions options;
  };
  auto flags = std::make_shared<Flags>();
  add_replay(*source.app, flags->replay, "Instead of sensors: a table with date and temperature");
  source.app->add_option("--sysfs", flags->options.sysfs, "Where the sensors are")
      ->type_name("DIR")
      ->capture_default_str();
  source.app->add_option("--load-average", flags->options.load_average, "Where the load is")
      ->type_name("FILE")
      ->capture_default_str();
  source.app->footer(
      "Example:\n"
      "  backplane publish thermometer --every 10s\n"
      "  backplane publish thermometer --csv config/demo/seattle-hourly.csv --rate 2");
  source.run = [flags](const sources::SourceOptions& options, Signals& signals) {
    const ReplayFlags& replay = flags->replay;
    if (!replay.csv.empty()) flags->options.replay = {replay.csv, replay.rate, replay.once};
    return sources::run_thermometer(options, flags->options, signals);
  };
  return source;
}

Source add_quotes(CLI::App& publish) {
  Source source = add_source(publish, "quotes", "Stock prices of a file on stock.<SYMBOL>", false);
  auto flags = std::make_shared<ReplayFlags>();
  add_replay(*source.app, *flags, "A table with symbol, date and price")->required();
  source.app->footer("Example:\n  backplane publish quotes --csv config/demo/stocks.csv --rate 10");
  source.run = [flags](const sources::SourceOptions& options, Signals& signals) {
    return sources::run_quotes(options, {flags->csv, flags->rate, flags->once}, signals);
  };
  return source;
}

Source add_lines(CLI::App& publish) {
  Source source = add_source(publish, "lines", "Standard input, a line an event, on --topic", false);
  source.app->get_option("--topic")->required();
  source.app->footer("Example:\n  tail -F /var/log/syslog | backplane publish lines --topic log.syslog");
  source.run = [](const sources::SourceOptions& options, Signals& signals) {
    return sources::run_lines(options, {}, signals);
  };
  return source;
}

}  // namespace

Run add_publish(CLI::App& program) {
  CLI::App* app =
      program.add_subcommand("publish", "Publish what a clock, sensors, a file or standard input say");
  app->require_subcommand(1);
  app->footer(
      "Example:\n"
      "  backplane publish clock --every 1s\n"
      "  backplane publish SOURCE --help       the options of one source");
  std::vector<Source> all{add_clock(*app), add_thermometer(*app), add_quotes(*app), add_lines(*app)};
  return [all = std::move(all)] {
    for (const Source& source : all) {
      if (source.app->parsed()) return run_publish(source);
    }
    return ExitCode::usage;
  };
}

}  // namespace backplane::cli
