#pragma once
// The publishers that come with Backplane. Each run_… is a whole program but for its flags: it returns when a
// signal asks it to stop or its input ends. On standard output it prints the ready line and nothing else.

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

/// What all sources understand.
struct SourceOptions {
  std::string topic;        ///< "": the source's own, see each
  std::string source_name;  ///< "": <source>@<host>
  std::vector<PublisherEndpoints> brokers{PublisherEndpoints{}};
  /// From event to event, or what each source says that it is; none: its own.
  std::optional<std::chrono::nanoseconds> every{};
  bool stop_on_error{};  ///< --on-error stop: the first bad record ends it, with ExitCode::failed
  std::size_t max_event_bytes = 1u << 20;
};

/// A file of real data that is played again and again. Without `rate`, `speed` or SourceOptions::every the
/// source chooses.
struct ReplayOptions {
  std::filesystem::path file;
  RecordFormat format{};
  std::optional<double> rate{};   ///< events a second
  std::optional<double> speed{};  ///< at the data's own pace, so many times as fast
  bool once{};                    ///< ends at the file's end, when the broker has dealt with everything
  ColumnNames columns{};          ///< field → column, where they differ
  TimeUnit time_unit{};
};

/// A ClockTick at each multiple of `every` (1 s) of the wall clock, on topic `clock`.
ExitCode run_clock(const SourceOptions& options, Signals& signals);

struct ThermometerOptions {
  std::filesystem::path sysfs = "/sys";
  std::filesystem::path load_average = "/proc/loadavg";
  std::filesystem::path memory = "/proc/meminfo";
  /// Instead of this machine's sensors: columns `date` (or `time`) and `temperature`, others don't matter.
  std::optional<ReplayOptions> replay{};
};

/// A Temperature for each sensor of this machine on `temperature.<sensor>`, its LoadAverage on `load` and its
/// MemoryUse on `memory`, each `every` (5 s); or the readings of a file on `temperature.<file's name>`, one a
/// second. A topic given stands for `temperature`.
ExitCode run_thermometer(const SourceOptions& options, const ThermometerOptions& thermometer,
                         Signals& signals);

/// A Quote for each record with columns `symbol`, `date` (or `time`) and `price`, on `stock.<SYMBOL>`, one a
/// second. A topic given stands for `stock`.
ExitCode run_quotes(const SourceOptions& options, const ReplayOptions& replay, Signals& signals);

/// An Earthquake for each record, on `earthquake.<network>`, at the data's own pace. A topic given stands for
/// `earthquake`.
ExitCode run_earthquakes(const SourceOptions& options, const ReplayOptions& replay, Signals& signals);

struct ReplayAs {
  std::string type;                 ///< as Mapping has it; "": JSON text
  std::string time_field = "time";  ///< says when a record's event happened
  std::string topic_field{};        ///< its value is added to the topic; "": none
};

/// Any records as events, on `topic`, which must be given, at the data's own pace.
ExitCode run_replay(const SourceOptions& options, const ReplayOptions& replay, const ReplayAs& as,
                    Signals& signals);

struct LinesOptions {
  int input{0};  ///< the descriptor to read; standard input
};

/// A text for each line of the input on `topic`, which must be given, as they come, or one each `every` at
/// most. Ends with the input, when the broker has dealt with everything.
ExitCode run_lines(const SourceOptions& options, const LinesOptions& lines, Signals& signals);

struct FileOptions {
  std::filesystem::path path;
  /// Where it is remembered how far the file has been published; "": nowhere.
  std::filesystem::path state{};
  bool from_end{};  ///< where nothing is remembered: what the file has already is left out
};

/// A text for each line of a growing file on `topic`, which must be given; across rotation (another file
/// takes its name) and truncation. `every` (1 s) is how often it looks at the file where the kernel tells
/// nothing. A restart goes on behind what the broker has taken, also after kill -9.
ExitCode run_file(const SourceOptions& options, const FileOptions& file, Signals& signals);

/// Where a state is kept if nobody says where: in $STATE_DIRECTORY (as systemd has it),
/// $XDG_STATE_HOME/backplane or ~/.local/state/backplane, under a name made of topic and path. "" where none
/// of them is set.
[[nodiscard]] std::filesystem::path default_state_file(const std::filesystem::path& followed,
                                                       const std::string& topic);

struct ExecOptions {
  std::vector<std::string> command;                 ///< the program, looked for in PATH, and its arguments
  std::optional<std::chrono::nanoseconds> limit{};  ///< none: 1 min or `every`, whichever is longer; 0: none
};

/// Runs a command each `every`, or once where there is none, and ends with it then. Publishes a text for each
/// line of its output on `topic`, which must be given, for each of its errors on `<topic>.error`, and its
/// CommandResult on `<topic>.exit`.
ExitCode run_exec(const SourceOptions& options, const ExecOptions& exec, Signals& signals);

struct RandomWalkOptions {
  std::uint64_t seed = 1;        ///< the same seed gives the same symbols and prices
  std::uint64_t symbols = 10;    ///< 1 to a million
  std::optional<double> rate{};  ///< events a second; none: 1
  std::uint64_t count{};         ///< ends after so many; 0: never
};

/// Made-up Quotes on `walk.<SYMBOL>`. A topic given stands for `walk`.
ExitCode run_random_walk(const SourceOptions& options, const RandomWalkOptions& walk, Signals& signals);

}  // namespace backplane::sources
