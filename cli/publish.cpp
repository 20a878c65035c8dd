// backplane publish SOURCE: runs one of the sources of events that come with Backplane.

#include <filesystem>
#include <map>
#include <memory>
#include <optional>

#include <fmt/format.h>

#include "cli/address_flags.hpp"
#include "cli/console/messages.hpp"
#include "cli/subcommands.hpp"
#include "core/config/size.hpp"
#include "core/log/log.hpp"
#include "core/process/signals.hpp"
#include "core/time/duration.hpp"
#include "core/topic/topic.hpp"
#include "publishers/sources/sources.hpp"

namespace backplane::cli {
namespace {

/// The options that all sources have.
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
  std::string file;
  std::string format;
  std::optional<double> rate;
  std::optional<double> speed;
  bool once{};
  std::vector<std::string> map;
  std::string time_unit;
  std::string separator;
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
      return fail(ErrorCode::invalid_argument, "--every: expected more than 0, got \"0\"");
    options.every = *every;
  }
  const bool stop = flags.on_error == "stop" || flags.on_error == "fail";
  if (!stop && flags.on_error != "skip") {
    return fail(ErrorCode::invalid_argument,
                fmt::format("--on-error: expected skip or stop, got \"{}\"", flags.on_error));
  }
  options.stop_on_error = stop;
  const auto bytes = config::parse_size(flags.max_event_bytes, "--max-event-bytes");
  if (!bytes) return tl::unexpected(bytes.error());
  constexpr std::uint64_t event_bytes_max = 256u << 20;  // the largest limit that a broker can have
  if (*bytes == 0 || *bytes > event_bytes_max) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("--max-event-bytes: expected 1 to 256MiB, got \"{}\"", flags.max_event_bytes));
  }
  options.max_event_bytes = *bytes;
  const auto brokers = resolve(flags.addresses);
  if (!brokers) return tl::unexpected(brokers.error());
  options.brokers.clear();
  for (const BrokerEndpoints& broker : *brokers) options.brokers.push_back({broker.ingress, broker.control});
  options.credentials = mq::files_of(brokers->front().keys);
  return options;
}

/// Runs a source until it ends. @returns an error if an option of that source is wrong.
using RunSource = std::function<Result<ExitCode>(const sources::SourceOptions&, Signals&)>;

ExitCode run_publish(const std::string& source, const SourceFlags& flags, const RunSource& run) {
  const std::string name = "publish " + source;
  const auto level = log::parse_level(flags.log_level);
  if (!level) {
    print_message(name, "--log-level: " + level.error().text);
    return ExitCode::usage;
  }
  const auto options = source_options(flags);
  if (!options) return print_error(name, options.error());
  log::set_program(source);
  log::set_level(*level);
  Signals signals;
  const auto code = run(*options, signals);
  return code ? *code : print_error(name, code.error());
}

/// A source's subcommand with the options that all sources have.
struct Source {
  std::string name;
  Command command;
  std::shared_ptr<SourceFlags> flags;

  void set_run(RunSource run) const {
    command.set_run(
        [name = name, flags = flags, run = std::move(run)] { return run_publish(name, *flags, run); });
  }
};

/// Adds a source with the options that all sources have. @param every  what --every means to this source
Source add_source(const Command& publish, const std::string& name, const std::string& about,
                  const std::string& every) {
  Source source{name, publish.add_command(name, about), std::make_shared<SourceFlags>()};
  const Command& command = source.command;
  SourceFlags& flags = *source.flags;
  command.add_option("-t,--topic", flags.topic, "Topic, or the first part of each topic");
  command.add_option("-e,--every", flags.every, every).value_name("DURATION");
  command.add_option("--source-name", flags.source_name, "Name of this source (default: " + name + "@<host>)")
      .value_name("NAME");
  command
      .add_option("--on-error", flags.on_error, "What to do with a record that cannot be used: skip or stop")
      .show_default();
  command
      .add_option("--max-event-bytes", flags.max_event_bytes,
                  "Size limit of an event; larger ones count as records that cannot be used")
      .value_name("SIZE")
      .show_default();
  command
      .add_option("--log-level", flags.log_level,
                  "Least severe messages to log: debug, info, warning, error or off")
      .value_name("LEVEL")
      .show_default();
  add_address_flags(command, flags.addresses);
  return source;
}

constexpr const char* interval_for_rate = "Interval between events, instead of --rate";

void add_rate(const Command& command, std::optional<double>& rate, const std::string& about) {
  command.add_option("--rate", rate, about).value_name("N");
}

/// @param default_rate  the rate without --rate, --speed and --every
void add_replay(const Command& command, ReplayFlags& flags, const std::string& about,
                const std::string& default_rate, bool required) {
  const Option file = command.add_option("-f,--file,--csv", flags.file, about).value_name("FILE");
  if (required) file.required();
  command.add_option("--format", flags.format, "csv or ndjson (default: from the file name)")
      .value_name("FORMAT");
  command
      .add_option("--separator", flags.separator,
                  "Column separator of a table: one character, or tab (default: a comma; for .tsv a tab)")
      .value_name("CHAR");
  add_rate(command, flags.rate, "Records per second (default without --speed: " + default_rate + ")");
  command.add_option("--speed", flags.speed, "Replay at N times the pace of the data").value_name("N");
  command.add_flag("--once", flags.once, "Stop at the end of the file instead of starting again");
  command.add_option("--map", flags.map, "Read FIELD from COLUMN; repeatable").value_name("FIELD=COLUMN");
  command
      .add_option("--time-unit", flags.time_unit,
                  "Unit of times that are numbers: s, ms, us or ns (default: from the size of the number)")
      .value_name("UNIT");
}

Result<sources::ReplayOptions> replay_options(const ReplayFlags& flags) {
  sources::ReplayOptions replay;
  replay.file = flags.file;
  replay.rate = flags.rate;
  replay.speed = flags.speed;
  replay.once = flags.once;
  const std::map<std::string, sources::RecordFormat> formats{{"", sources::RecordFormat::by_name},
                                                             {"csv", sources::RecordFormat::csv},
                                                             {"ndjson", sources::RecordFormat::ndjson}};
  const std::map<std::string, sources::TimeUnit> units{{"", sources::TimeUnit::by_size},
                                                       {"s", sources::TimeUnit::seconds},
                                                       {"ms", sources::TimeUnit::milliseconds},
                                                       {"us", sources::TimeUnit::microseconds},
                                                       {"ns", sources::TimeUnit::nanoseconds}};
  const auto wrong = [](std::string_view flag, std::string_view expected, std::string_view got) {
    return fail(ErrorCode::invalid_argument, fmt::format("{}: expected {}, got \"{}\"", flag, expected, got));
  };
  const auto format = formats.find(flags.format);
  if (format == formats.end()) return wrong("--format", "csv or ndjson", flags.format);
  replay.format = format->second;
  const auto unit = units.find(flags.time_unit);
  if (unit == units.end()) return wrong("--time-unit", "s, ms, us or ns", flags.time_unit);
  replay.time_unit = unit->second;
  if (!flags.separator.empty()) {
    const bool tab = flags.separator == "tab" || flags.separator == "\\t";
    const char separator = tab ? '\t' : flags.separator.front();
    if ((!tab && flags.separator.size() != 1) ||
        std::string_view("\"\r\n").find(separator) != std::string_view::npos) {
      return wrong("--separator", "one character or tab", flags.separator);
    }
    replay.separator = separator;
  }
  for (const std::string& each : flags.map) {
    const std::size_t equals = each.find('=');
    if (equals == std::string::npos || equals == 0 || equals + 1 == each.size()) {
      return wrong("--map", "FIELD=COLUMN", each);
    }
    replay.columns[each.substr(0, equals)] = each.substr(equals + 1);
  }
  return replay;
}

void add_clock(const Command& publish) {
  const Source source = add_source(publish, "clock", "The time, once per second, on topic clock",
                                   "Interval between ticks (default: 1s)");
  source.command.set_footer(
      "Examples:\n"
      "  backplane publish clock --every 250ms\n"
      "  backplane publish clock --broker host7 --key me.key --server-key broker.pub");
  source.set_run([](const sources::SourceOptions& options, Signals& signals) {
    return sources::run_clock(options, signals);
  });
}

void add_thermometer(const Command& publish) {
  const Source source =
      add_source(publish, "thermometer",
                 "This machine's sensors on temperature.<sensor>, its load on load and its memory "
                 "on memory; or temperatures from a file",
                 "Interval between readings (default: 5s)");
  struct Flags {
    ReplayFlags replay;
    sources::ThermometerOptions options;
  };
  auto flags = std::make_shared<Flags>();
  add_replay(source.command, flags->replay,
             "File with records of date and temperature, instead of the sensors", "1", false);
  const auto add_path = [&](const std::string& flag, std::filesystem::path& path, const std::string& about) {
    source.command.add_option(flag, path, about).value_name("PATH").show_default();
  };
  add_path("--sysfs", flags->options.sysfs, "Folder of the kernel's sensors");
  add_path("--load-average", flags->options.load_average, "File with the load");
  add_path("--memory", flags->options.memory, "File with the memory use");
  source.command.set_footer(
      "Examples:\n"
      "  backplane publish thermometer --every 10s\n"
      "  backplane publish thermometer --csv config/demo/seattle-hourly.csv --speed 3600");
  source.set_run([flags](const sources::SourceOptions& options, Signals& signals) -> Result<ExitCode> {
    if (!flags->replay.file.empty()) {
      auto replay = replay_options(flags->replay);
      if (!replay) return tl::unexpected(replay.error());
      flags->options.replay = std::move(*replay);
    }
    return sources::run_thermometer(options, flags->options, signals);
  });
}

void add_quotes(const Command& publish) {
  const Source source =
      add_source(publish, "quotes", "Prices from a file, on stock.<SYMBOL>", interval_for_rate);
  auto flags = std::make_shared<ReplayFlags>();
  add_replay(source.command, *flags, "File with records of symbol, date and price", "1", true);
  source.command.set_footer(
      "Examples:\n"
      "  backplane publish quotes --csv config/demo/stocks.csv --rate 10\n"
      "  backplane publish quotes --csv daily.csv --map symbol=Ticker --map price=Close --map time=Day");
  source.set_run([flags](const sources::SourceOptions& options, Signals& signals) {
    return replay_options(*flags).map(
        [&](const sources::ReplayOptions& replay) { return sources::run_quotes(options, replay, signals); });
  });
}

void add_earthquakes(const Command& publish) {
  const Source source = add_source(publish, "earthquakes", "Earthquakes from a file, on earthquake.<network>",
                                   interval_for_rate);
  auto flags = std::make_shared<ReplayFlags>();
  add_replay(source.command, *flags,
             "File with records of time, magnitude, place, … as the USGS publishes them",
             "the pace of the data", true);
  source.command.set_footer(
      "Examples:\n"
      "  backplane publish earthquakes --file config/demo/earthquakes.ndjson --speed 60");
  source.set_run([flags](const sources::SourceOptions& options, Signals& signals) {
    return replay_options(*flags).map([&](const sources::ReplayOptions& replay) {
      return sources::run_earthquakes(options, replay, signals);
    });
  });
}

void add_replay_source(const Command& publish) {
  const Source source = add_source(
      publish, "replay", "Any records from a file, at the pace of the data, on --topic", interval_for_rate);
  struct Flags {
    ReplayFlags replay;
    sources::ReplayAs as;
  };
  auto flags = std::make_shared<Flags>();
  source.command.option("--topic").required();
  add_replay(source.command, flags->replay, "File with a table (CSV) or one JSON object per line (NDJSON)",
             "the pace of the data", true);
  source.command
      .add_option("--type", flags->as.type, "Message type of the events, e.g. Quote (default: JSON text)")
      .value_name("TYPE");
  source.command.add_option("--time-field", flags->as.time_field, "Field with the time of the event")
      .value_name("FIELD")
      .show_default();
  source.command
      .add_option("--topic-field", flags->as.topic_field, "Field whose value is appended to the topic")
      .value_name("FIELD");
  source.command.set_footer(
      "Examples:\n"
      "  backplane publish replay --file config/demo/seattle-hourly.csv --topic weather.seattle \\\n"
      "    --time-field date --speed 3600\n"
      "  backplane publish replay --file quakes.ndjson --type Earthquake --topic quake --topic-field net");
  source.set_run([flags](const sources::SourceOptions& options, Signals& signals) {
    return replay_options(flags->replay).map([&](const sources::ReplayOptions& replay) {
      return sources::run_replay(options, replay, flags->as, signals);
    });
  });
}

void add_lines(const Command& publish) {
  const Source source =
      add_source(publish, "lines", "The lines of standard input, one event each, on --topic",
                 "Minimum interval between events (default: none)");
  source.command.option("--topic").required();
  source.command.set_footer(
      "Examples:\n"
      "  dmesg --follow | backplane publish lines --topic log.kernel\n"
      "  dmesg --follow | backplane publish lines --topic log.kernel --broker host7 --key me.key "
      "--server-key broker.pub");
  source.set_run([](const sources::SourceOptions& options, Signals& signals) {
    return sources::run_lines(options, {}, signals);
  });
}

void add_file(const Command& publish) {
  const Source source = add_source(
      publish, "file", "The lines of a growing file, across rotation, truncation and restarts, on --topic",
      "How often to check the file if the kernel does not report changes (default: 1s)");
  struct Flags {
    std::string path;
    std::string state;
    std::string from = "start";
  };
  auto flags = std::make_shared<Flags>();
  source.command.option("--topic").required();
  source.command.add_option("-f,--path,--file", flags->path, "File to follow; it may be created later")
      .value_name("FILE")
      .required();
  source.command
      .add_option("--state", flags->state,
                  "File that stores the position, or none (default: a file in ~/.local/state/backplane)")
      .value_name("FILE");
  source.command.add_option("--from", flags->from, "Where to begin if no position is stored: start or end")
      .show_default();
  source.command.set_footer(
      "Examples:\n"
      "  backplane publish file --path /var/log/syslog --topic log.syslog\n"
      "  backplane publish file --path app.log --topic log.app --broker host7 --key me.key --server-key "
      "broker.pub");
  source.set_run([flags](const sources::SourceOptions& options, Signals& signals) -> Result<ExitCode> {
    if (flags->from != "start" && flags->from != "end") {
      return fail(ErrorCode::invalid_argument,
                  fmt::format("--from: expected start or end, got \"{}\"", flags->from));
    }
    sources::FileOptions file{.path = flags->path, .state = flags->state, .from_end = flags->from == "end"};
    if (flags->state == "none") file.state.clear();
    if (flags->state.empty()) file.state = sources::default_state_file(file.path, options.topic);
    return sources::run_file(options, file, signals);
  });
}

void add_exec(const Command& publish) {
  const Source source =
      add_source(publish, "exec",
                 "A command's output on --topic, its standard error on <topic>.error and its result on "
                 "<topic>.exit",
                 "Interval between runs (default: a single run without a time limit)");
  struct Flags {
    std::vector<std::string> command;
    std::string limit;
  };
  auto flags = std::make_shared<Flags>();
  source.command.option("--topic").required();
  source.command
      .add_option("--limit", flags->limit,
                  "Kill a run that takes longer; 0: no limit (default: 1m or --every, whichever is longer; "
                  "without --every: no limit)")
      .value_name("DURATION");
  source.command
      .add_option(
          "COMMAND", flags->command,
          "Command to run; it and all words after it are taken as they are, so that other options come "
          "first")
      .value_name("")
      .takes_rest()
      .required();
  source.command.set_footer(
      "Examples:\n"
      "  backplane publish exec --topic disk --every 1m -- df --output=pcent,target\n"
      "  backplane publish exec --topic log.kernel -- dmesg --follow");
  source.set_run([flags](const sources::SourceOptions& options, Signals& signals) -> Result<ExitCode> {
    sources::ExecOptions exec{.command = flags->command, .limit = {}};
    if (!flags->limit.empty()) {
      const auto limit = parse_duration(flags->limit, "--limit");
      if (!limit) return tl::unexpected(limit.error());
      exec.limit = *limit;
    }
    return sources::run_exec(options, exec, signals);
  });
}

void add_random_walk(const Command& publish) {
  const Source source =
      add_source(publish, "random-walk", "Made-up prices, on walk.<SYMBOL>", interval_for_rate);
  auto flags = std::make_shared<sources::RandomWalkOptions>();
  source.command.add_option("--seed", flags->seed, "Random seed; the same seed gives the same prices")
      .value_name("N")
      .show_default();
  source.command.add_option("--symbols", flags->symbols, "Number of symbols: AAA, AAB, …")
      .value_name("N")
      .range(1, 1'000'000)
      .show_default();
  add_rate(source.command, flags->rate, "Prices per second (default: 1)");
  source.command.add_option("-n,--count", flags->count, "Exit after N prices (default: never)")
      .value_name("N")
      .range(1);
  source.command.set_footer(
      "Examples:\n  backplane publish random-walk --symbols 1000 --rate 10000 --seed 7");
  source.set_run([flags](const sources::SourceOptions& options, Signals& signals) {
    return sources::run_random_walk(options, *flags, signals);
  });
}

}  // namespace

void add_publish(const Command& program) {
  const Command command = program.add_command(
      "publish", "Publish events from a clock, sensors, files, commands or standard input");
  command.require_command();
  command.set_footer(
      "Examples:\n"
      "  backplane publish clock --every 1s\n"
      "  backplane publish clock --broker host7 --key me.key --server-key broker.pub\n"
      "  backplane publish SOURCE --help       list the options of a source");
  for (const auto add : {add_clock, add_thermometer, add_quotes, add_earthquakes, add_replay_source,
                         add_lines, add_file, add_exec, add_random_walk}) {
    add(command);
  }
}

}  // namespace backplane::cli
