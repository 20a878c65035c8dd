#pragma once
// The result of `backplane bench`, for people and for programs.

#include <chrono>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "cli/measurement/durations.hpp"
#include "cli/measurement/rates.hpp"

namespace backplane::cli {

struct BenchReport {
  std::string bench;     ///< `pub`, `sub` or `latency`
  std::string place;     ///< the endpoint
  std::string what;      ///< `128 bytes each, on bench.pub`
  Rates rates;           ///< of the events
  std::string measured;  ///< what the durations are: `confirmed`
  Durations durations;
  /// What went wrong, by name: `missed`, `refused`.
  std::vector<std::pair<std::string, std::uint64_t>> faults{};
};

/// `850 ns`, `12.3 µs`, `1.24 ms`, `3.02 s`.
[[nodiscard]] std::string short_duration(std::chrono::nanoseconds duration);

/// Some lines under each other. Faults are shown only if there are any.
[[nodiscard]] std::vector<std::string> bench_text(const BenchReport& report);

/// One JSON object on one line; times are in seconds.
[[nodiscard]] std::string bench_json(const BenchReport& report);

}  // namespace backplane::cli
