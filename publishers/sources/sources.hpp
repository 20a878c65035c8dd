#pragma once
// The publishers that come with Backplane. Each run_… function is a whole program apart from its flags. It
// returns when a signal requests it to stop or its input ends. On standard output it prints only the ready
// line.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "backplane/publisher.hpp"
#include "core/process/exit_code.hpp"
#include "publishers/sources/mapping.hpp"
#include "publishers/sources/record_reader.hpp"

namespace backplane {
class Signals;
}

namespace backplane::sources {

/// Options of all sources.
struct SourceOptions {
  std::string topic;        ///< empty: the source's default, see each source
  std::string source_name;  ///< empty: default_name() of the source
  std::vector<PublisherEndpoints> brokers{PublisherEndpoints{}};
  Credentials credentials{};
  /// The interval between events, unless a source says otherwise. Without a value: the source's default.
  std::optional<std::chrono::nanoseconds> every{};
  bool stop_on_error{};  ///< --on-error stop: exit at the first bad record, with ExitCode::failed
  std::size_t max_event_bytes = 1u << 20;
  bool number_too_large{};  ///< see Publisher::Options
};

/// A data file that is published repeatedly. Without `rate`, `speed` and SourceOptions::every, the source
/// chooses the pace.
struct ReplayOptions {
  std::filesystem::path file;
  RecordFormat format{};
  char separator{};               ///< of a table's fields; 0: see RecordReader::open()
  std::optional<double> rate{};   ///< events per second
  std::optional<double> speed{};  ///< the data's own pace, multiplied by this
  bool once{};                    ///< exit at the end of the file, when the broker has confirmed everything
  ColumnNames columns{};          ///< field → column, for those that differ
  TimeUnit time_unit{};
};

/// Publishes a ClockTick on `clock` at each multiple of `every` (1 s) of the wall clock.
ExitCode run_clock(const SourceOptions& options, Signals& signals);

struct ThermometerOptions {
  std::filesystem::path sysfs = "/sys";
  std::filesystem::path load_average = "/proc/loadavg";
  std::filesystem::path memory = "/proc/meminfo";
  /// If set, publishes this file instead of this machine's sensors. It needs the columns `date` (or `time`)
  /// and `temperature`; others are ignored.
  std::optional<ReplayOptions> replay{};
};

/// Every `every` (5 s), publishes a Temperature for each sensor of this machine on `temperature.<sensor>`,
/// its LoadAverage on `load` and its MemoryUse on `memory`. Or publishes the readings of a file on
/// `temperature.<name of the file>`, one per second. SourceOptions::topic replaces `temperature`.
ExitCode run_thermometer(const SourceOptions& options, const ThermometerOptions& thermometer,
                         Signals& signals);

/// Publishes a Quote on `stock.<SYMBOL>` for each record with columns `symbol`, `date` (or `time`) and
/// `price`, one per second. SourceOptions::topic replaces `stock`.
ExitCode run_quotes(const SourceOptions& options, const ReplayOptions& replay, Signals& signals);

/// Publishes an Earthquake on `earthquake.<network>` for each record, at the data's own pace.
/// SourceOptions::topic replaces `earthquake`.
ExitCode run_earthquakes(const SourceOptions& options, const ReplayOptions& replay, Signals& signals);

struct ReplayAs {
  std::string type;                 ///< see Mapping; empty: JSON text
  std::string time_field = "time";  ///< says when a record's event happened
  std::string topic_field{};        ///< its value is appended to the topic; empty: nothing is
};

/// Publishes any records on SourceOptions::topic, which is required, at the data's own pace.
ExitCode run_replay(const SourceOptions& options, const ReplayOptions& replay, const ReplayAs& as,
                    Signals& signals);

struct LinesOptions {
  int input{0};  ///< the descriptor to read; standard input by default
};

/// Publishes each line of the input as text on SourceOptions::topic, which is required: as they arrive, or at
/// most one per `every`. Returns at the end of the input, when the broker has confirmed everything.
ExitCode run_lines(const SourceOptions& options, const LinesOptions& lines, Signals& signals);

struct FileOptions {
  std::filesystem::path path;
  /// The file in which the position is saved; empty: it is not saved.
  std::filesystem::path state{};
  bool from_end{};  ///< without a saved position: skip what the file already contains
};

/// Publishes each line of a growing file as text on SourceOptions::topic, which is required, across rotation
/// (another file takes its name) and truncation. `every` (1 s) is how often it checks the file if the kernel
/// reports no changes. After a restart it continues after the last line that the broker admitted, even after
/// kill -9.
ExitCode run_file(const SourceOptions& options, const FileOptions& file, Signals& signals);

/// The default state file: in $STATE_DIRECTORY (set by systemd), $XDG_STATE_HOME/backplane or
/// ~/.local/state/backplane, with a name made from topic and path. Empty if none of these is set.
[[nodiscard]] std::filesystem::path default_state_file(const std::filesystem::path& followed,
                                                       const std::string& topic);

struct ExecOptions {
  std::vector<std::string> command;  ///< the program, searched for in PATH, and its arguments
  /// Without a value: 1 min or `every`, whichever is longer. 0: no limit.
  std::optional<std::chrono::nanoseconds> limit{};
};

/// Runs a command every `every`; without `every`, runs it once and returns when it exits. Publishes each line
/// of its output as text on SourceOptions::topic, which is required, each line of its standard error on
/// `<topic>.error`, and its CommandResult on `<topic>.exit`.
ExitCode run_exec(const SourceOptions& options, const ExecOptions& exec, Signals& signals);

struct RandomWalkOptions {
  std::uint64_t seed = 1;        ///< the same seed gives the same symbols and prices
  std::uint64_t symbols = 10;    ///< 1 to a million
  std::optional<double> rate{};  ///< events per second; without a value: 1
  std::uint64_t count{};         ///< exit after this many events; 0: never
};

/// Publishes made-up Quotes on `walk.<SYMBOL>`. SourceOptions::topic replaces `walk`.
ExitCode run_random_walk(const SourceOptions& options, const RandomWalkOptions& walk, Signals& signals);

}  // namespace backplane::sources
