// backplane publish SOURCE: one of the publishers that come with Backplane.

#include <filesystem>
#include <map>
#include <memory>
#include <optional>

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
  std::string file;
  std::string format;
  std::optional<double> rate;
  std::optional<double> speed;
  bool once{};
  std::vector<std::string> map;
  std::string time_unit;
};

/// A source to choose: its subcommand, and what runs it with its options as they were given.
struct Source {
  CLI::App* app;
  std::shared_ptr<SourceFlags> flags;
  /// Gives an error where an option of the source itself is wrong.
  std::function<Result<ExitCode>(const sources::SourceOptions&, Signals&)> run;
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
  const bool stop = flags.on_error == "stop" || flags.on_error == "fail";
  if (!stop && flags.on_error != "skip") {
    return fail(ErrorCode::invalid_argument,
                fmt::format("--on-error: wanted skip or stop, got \"{}\"", flags.on_error));
  }
  options.stop_on_error = stop;
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
  const auto code = source.run(*options, signals);
  return code ? *code : complain(name, code.error());
}

/// Adds a source with the options that all have. `every`: what --every means to it.
Source add_source(CLI::App& publish, const std::string& name, const std::string& about,
                  const std::string& every) {
  Source source{publish.add_subcommand(name, about), std::make_shared<SourceFlags>(), {}};
  CLI::App& app = *source.app;
  SourceFlags& flags = *source.flags;
  app.add_option("--topic", flags.topic, "The topic, or what stands for its first part");
  app.add_option("--every", flags.every, every)->type_name("DURATION");
  app.add_option("--source-name", flags.source_name, "Who we are; by default " + name + "@<host>")
      ->type_name("NAME");
  app.add_option("--on-error", flags.on_error, "skip or stop: what to do at a record that cannot be used")
      ->capture_default_str();
  app.add_option("--max-event-bytes", flags.max_event_bytes, "Largest event")
      ->type_name("SIZE")
      ->capture_default_str();
  app.add_option("--log-level", flags.log_level, "debug, info, warning, error or off")
      ->type_name("LEVEL")
      ->capture_default_str();
  add_addresses(app, flags.addresses);
  return source;
}

constexpr const char* even_pace = "From event to event, instead of --rate";

CLI::Option* add_rate(CLI::App& app, std::optional<double>& rate, const std::string& about) {
  return app.add_option("--rate", rate, about)->type_name("N");
}

/// @param usual what it does without --rate, --speed and --every
void add_replay(CLI::App& app, ReplayFlags& flags, const std::string& about, const std::string& usual,
                bool required) {
  CLI::Option* const file = app.add_option("--file,--csv", flags.file, about)->type_name("FILE");
  if (required) file->required();
  app.add_option("--format", flags.format, "csv or ndjson; by default as the file's name ends")
      ->type_name("FORMAT");
  add_rate(app, flags.rate, "Records a second; without it and --speed: " + usual);
  app.add_option("--speed", flags.speed, "At the data's own pace, so many times as fast")->type_name("N");
  app.add_flag("--once", flags.once, "End at the file's end, instead of beginning again");
  app.add_option("--map", flags.map, "Take this field from that column; may be repeated")
      ->type_name("FIELD=COLUMN")
      ->allow_extra_args(false);
  app.add_option("--time-unit", flags.time_unit, "s, ms, us or ns: what a number means as time; by its size")
      ->type_name("UNIT");
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
  const auto wanted = [](std::string_view flag, std::string_view what, std::string_view got) {
    return fail(ErrorCode::invalid_argument, fmt::format("{}: wanted {}, got \"{}\"", flag, what, got));
  };
  const auto format = formats.find(flags.format);
  if (format == formats.end()) return wanted("--format", "csv or ndjson", flags.format);
  replay.format = format->second;
  const auto unit = units.find(flags.time_unit);
  if (unit == units.end()) return wanted("--time-unit", "s, ms, us or ns", flags.time_unit);
  replay.time_unit = unit->second;
  for (const std::string& each : flags.map) {
    const std::size_t equals = each.find('=');
    if (equals == std::string::npos || equals == 0 || equals + 1 == each.size()) {
      return wanted("--map", "FIELD=COLUMN", each);
    }
    replay.columns[each.substr(0, equals)] = each.substr(equals + 1);
  }
  return replay;
}

Source add_clock(CLI::App& publish) {
  Source source =
      add_source(publish, "clock", "The time, each second or --every, on topic clock", "From tick to tick");
  source.app->footer("Example:\n  backplane publish clock --every 250ms");
  source.run = [](const sources::SourceOptions& options, Signals& signals) {
    return sources::run_clock(options, signals);
  };
  return source;
}

Source add_thermometer(CLI::App& publish) {
  Source source =
      add_source(publish, "thermometer",
                 "This machine's sensors on temperature.<sensor>, its load on load and its memory "
                 "on memory, or a file's readings",
                 "From reading to reading; by default 5s");
  struct Flags {
    ReplayFlags replay;
    sources::ThermometerOptions options;
  };
  auto flags = std::make_shared<Flags>();
  add_replay(*source.app, flags->replay, "Instead of sensors: records with date and temperature", "1", false);
  const auto add_path = [&](const std::string& flag, std::filesystem::path& path, const std::string& about) {
    source.app->add_option(flag, path, about)->type_name("PATH")->capture_default_str();
  };
  add_path("--sysfs", flags->options.sysfs, "Where the sensors are");
  add_path("--load-average", flags->options.load_average, "Where the load is");
  add_path("--memory", flags->options.memory, "Where the memory is");
  source.app->footer(
      "Example:\n"
      "  backplane publish thermometer --every 10s\n"
      "  backplane publish thermometer --csv config/demo/seattle-hourly.csv --speed 3600");
  source.run = [flags](const sources::SourceOptions& options, Signals& signals) -> Result<ExitCode> {
    if (!flags->replay.file.empty()) {
      auto replay = replay_options(flags->replay);
      if (!replay) return tl::unexpected(replay.error());
      flags->options.replay = std::move(*replay);
    }
    return sources::run_thermometer(options, flags->options, signals);
  };
  return source;
}

Source add_quotes(CLI::App& publish) {
  Source source = add_source(publish, "quotes", "Prices of a file on stock.<SYMBOL>", even_pace);
  auto flags = std::make_shared<ReplayFlags>();
  add_replay(*source.app, *flags, "Records with symbol, date and price", "1", true);
  source.app->footer(
      "Example:\n"
      "  backplane publish quotes --csv config/demo/stocks.csv --rate 10\n"
      "  backplane publish quotes --csv daily.csv --map symbol=Ticker --map price=Close --map time=Day");
  source.run = [flags](const sources::SourceOptions& options, Signals& signals) {
    return replay_options(*flags).map(
        [&](const sources::ReplayOptions& replay) { return sources::run_quotes(options, replay, signals); });
  };
  return source;
}

Source add_earthquakes(CLI::App& publish) {
  Source source =
      add_source(publish, "earthquakes", "Earthquakes of a file on earthquake.<network>", even_pace);
  auto flags = std::make_shared<ReplayFlags>();
  add_replay(*source.app, *flags, "Records with time, magnitude, place, … as the USGS has them",
             "the data's own pace", true);
  source.app->footer(
      "Example:\n"
      "  backplane publish earthquakes --file config/demo/earthquakes.ndjson --speed 60");
  source.run = [flags](const sources::SourceOptions& options, Signals& signals) {
    return replay_options(*flags).map([&](const sources::ReplayOptions& replay) {
      return sources::run_earthquakes(options, replay, signals);
    });
  };
  return source;
}

Source add_replay_source(CLI::App& publish) {
  Source source = add_source(publish, "replay",
                             "Any records of a file, at the pace of their time, on --topic", even_pace);
  struct Flags {
    ReplayFlags replay;
    sources::ReplayAs as;
  };
  auto flags = std::make_shared<Flags>();
  source.app->get_option("--topic")->required();
  add_replay(*source.app, flags->replay, "A table (CSV) or a JSON object a line (NDJSON)",
             "the data's own pace", true);
  source.app
      ->add_option("--type", flags->as.type, "The message to make of each: Quote, …; without it JSON text")
      ->type_name("TYPE");
  source.app->add_option("--time-field", flags->as.time_field, "When a record's event happened")
      ->type_name("FIELD")
      ->capture_default_str();
  source.app->add_option("--topic-field", flags->as.topic_field, "Its value is added to the topic")
      ->type_name("FIELD");
  source.app->footer(
      "Example:\n"
      "  backplane publish replay --file config/demo/seattle-hourly.csv --topic weather.seattle \\\n"
      "    --time-field date --speed 3600\n"
      "  backplane publish replay --file quakes.ndjson --type Earthquake --topic quake --topic-field net");
  source.run = [flags](const sources::SourceOptions& options, Signals& signals) {
    return replay_options(flags->replay).map([&](const sources::ReplayOptions& replay) {
      return sources::run_replay(options, replay, flags->as, signals);
    });
  };
  return source;
}

Source add_lines(CLI::App& publish) {
  Source source = add_source(publish, "lines", "Standard input, a line an event, on --topic",
                             "At most one line each; by default as they come");
  source.app->get_option("--topic")->required();
  source.app->footer("Example:\n  dmesg --follow | backplane publish lines --topic log.kernel");
  source.run = [](const sources::SourceOptions& options, Signals& signals) {
    return sources::run_lines(options, {}, signals);
  };
  return source;
}

Source add_file(CLI::App& publish) {
  Source source = add_source(
      publish, "file", "The lines of a growing file on --topic, across rotation, truncation and restarts",
      "How often to look where the kernel tells nothing; by default 1s");
  struct Flags {
    std::string path;
    std::string state;
    std::string from = "start";
  };
  auto flags = std::make_shared<Flags>();
  source.app->get_option("--topic")->required();
  source.app->add_option("--path,--file", flags->path, "The file; it may come later")
      ->type_name("FILE")
      ->required();
  source.app
      ->add_option(
          "--state", flags->state,
          "Where to remember how far it has come, or none; by default below ~/.local/state/backplane")
      ->type_name("FILE");
  source.app->add_option("--from", flags->from, "start or end: where to begin if nothing is remembered")
      ->capture_default_str();
  source.app->footer("Example:\n  backplane publish file --path /var/log/syslog --topic log.syslog");
  source.run = [flags](const sources::SourceOptions& options, Signals& signals) -> Result<ExitCode> {
    if (flags->from != "start" && flags->from != "end") {
      return fail(ErrorCode::invalid_argument,
                  fmt::format("--from: wanted start or end, got \"{}\"", flags->from));
    }
    sources::FileOptions file{.path = flags->path, .state = flags->state, .from_end = flags->from == "end"};
    if (flags->state == "none") file.state.clear();
    if (flags->state.empty()) file.state = sources::default_state_file(file.path, options.topic);
    return sources::run_file(options, file, signals);
  };
  return source;
}

Source add_exec(CLI::App& publish) {
  Source source =
      add_source(publish, "exec",
                 "What a command prints on --topic, its errors on <topic>.error and how it ended on "
                 "<topic>.exit",
                 "Run it each; by default once, as long as it runs");
  struct Flags {
    std::vector<std::string> command;
    std::string limit;
  };
  auto flags = std::make_shared<Flags>();
  source.app->get_option("--topic")->required();
  source.app
      ->add_option(
          "--limit", flags->limit,
          "A run that takes longer is ended; 0: none. By default 1m or --every, whichever is longer, "
          "and none without --every")
      ->type_name("DURATION");
  source.app->add_option("command", flags->command, "The command, after --")
      ->type_name("COMMAND…")
      ->required();
  source.app->footer(
      "Example:\n"
      "  backplane publish exec --topic disk --every 1m -- df --output=pcent,target\n"
      "  backplane publish exec --topic log.kernel -- dmesg --follow");
  source.run = [flags](const sources::SourceOptions& options, Signals& signals) -> Result<ExitCode> {
    sources::ExecOptions exec{.command = flags->command, .limit = {}};
    if (!flags->limit.empty()) {
      const auto limit = parse_duration(flags->limit, "--limit");
      if (!limit) return tl::unexpected(limit.error());
      exec.limit = *limit;
    }
    return sources::run_exec(options, exec, signals);
  };
  return source;
}

Source add_random_walk(CLI::App& publish) {
  Source source = add_source(publish, "random-walk", "Made-up prices on walk.<SYMBOL>", even_pace);
  auto flags = std::make_shared<sources::RandomWalkOptions>();
  source.app->add_option("--seed", flags->seed, "The same seed gives the same prices")
      ->type_name("N")
      ->capture_default_str();
  source.app->add_option("--symbols", flags->symbols, "How many there are: AAA, AAB, …")
      ->type_name("N")
      ->capture_default_str();
  add_rate(*source.app, flags->rate, "Prices a second; by default 1");
  source.app->add_option("--count", flags->count, "End after so many; by default never")->type_name("N");
  source.app->footer("Example:\n  backplane publish random-walk --symbols 1000 --rate 10000 --seed 7");
  source.run = [flags](const sources::SourceOptions& options, Signals& signals) {
    return sources::run_random_walk(options, *flags, signals);
  };
  return source;
}

}  // namespace

Run add_publish(CLI::App& program) {
  CLI::App* app = program.add_subcommand(
      "publish", "Publish what a clock, sensors, files, commands or standard input say");
  app->require_subcommand(1);
  app->footer(
      "Example:\n"
      "  backplane publish clock --every 1s\n"
      "  backplane publish SOURCE --help       the options of one source");
  std::vector<Source> all{add_clock(*app),       add_thermometer(*app),   add_quotes(*app),
                          add_earthquakes(*app), add_replay_source(*app), add_lines(*app),
                          add_file(*app),        add_exec(*app),          add_random_walk(*app)};
  return [all = std::move(all)] {
    for (const Source& source : all) {
      if (source.app->parsed()) return run_publish(source);
    }
    return ExitCode::usage;
  };
}

}  // namespace backplane::cli
