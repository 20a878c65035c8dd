#pragma once
// The publishers that come with Backplane. Each run_… is a whole program but for its flags: it returns when a
// signal asks it to stop or its input ends. On standard output it prints the ready line and nothing else.

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "backplane/publisher.hpp"
#include "core/process/exit_code.hpp"

namespace backplane {
class Signals;
}

namespace backplane::sources {

/// What all sources understand.
struct SourceOptions {
  std::string topic;        ///< "": the source's own, see each
  std::string source_name;  ///< "": <source>@<host>
  std::vector<PublisherEndpoints> brokers{PublisherEndpoints{}};
  /// From event to event, where the source has a pace; none: its own.
  std::optional<std::chrono::nanoseconds> every{};
  bool fail_on_error{};  ///< --on-error fail: the first bad record ends it, with ExitCode::failed
  std::size_t max_event_bytes = 1u << 20;
};

/// A file of real data that is played again and again.
struct ReplayOptions {
  std::filesystem::path csv;
  double rate{1};  ///< events a second
  bool once{};     ///< ends at the file's end, when the broker has dealt with everything
};

/// A ClockTick at each multiple of `every` (1 s) of the wall clock, on topic `clock`.
ExitCode run_clock(const SourceOptions& options, Signals& signals);

struct ThermometerOptions {
  std::filesystem::path sysfs = "/sys";
  std::filesystem::path load_average = "/proc/loadavg";
  /// Instead of this machine's sensors: columns `date` and `temperature`, others don't matter.
  std::optional<ReplayOptions> replay{};
};

/// A Temperature for each sensor of this machine on `temperature.<sensor>` and its LoadAverage on `load`,
/// each `every` (5 s); or the readings of a file on `temperature.<file's name>`. A topic given stands for
/// `temperature`.
ExitCode run_thermometer(const SourceOptions& options, const ThermometerOptions& thermometer,
                         Signals& signals);

/// A Quote for each record with columns `symbol`, `date` and `price`, on `stock.<SYMBOL>`. A topic given
/// stands for `stock`.
ExitCode run_quotes(const SourceOptions& options, const ReplayOptions& replay, Signals& signals);

struct LinesOptions {
  int input{0};  ///< the descriptor to read; standard input
};

/// A text for each line of the input on `topic`, which must be given. Ends with the input, when the broker
/// has dealt with everything.
ExitCode run_lines(const SourceOptions& options, const LinesOptions& lines, Signals& signals);

}  // namespace backplane::sources
