#pragma once
// What a store costs a whole broker: its rate, and how late events are delivered.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace backplane::bench {

/// The stores that are compared. Memory comes first: the others are compared with it.
struct StoreVariant {
  std::string_view name;
  std::string_view settings;  ///< lines of [[backplane]]; "" for memory
  double rate_target;         ///< of memory's rate
};
inline constexpr std::array store_variants{
    StoreVariant{"memory", "", 1},
    StoreVariant{"file, 1s", "store_sync = \"1s\"", 0.85},
    StoreVariant{"file, always", "store_sync = \"always\"", 0.7},
};

struct WholeOptions {
  std::string directory;  ///< for the stores; it exists
  int runs{5};
  std::uint64_t events{1'000'000};  ///< per run
  double seconds{5};                ///< per run, of latency
};

/// Each run is a broker process of its own, with one publisher and one SUB over TCP. The stores take turns.
/// Prints a table for each. @returns the number of targets that were missed
int compare_rates(const WholeOptions& options);
int compare_latencies(const WholeOptions& options);

}  // namespace backplane::bench
