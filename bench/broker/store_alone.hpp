#pragma once
// What a store does without a broker: rates of writing and reading, opening, memory, what it writes to disk.

#include <cstddef>
#include <cstdint>
#include <string>

namespace backplane::bench {

struct AloneOptions {
  std::string directory;  ///< for the stores; it exists
  int runs{3};
  std::uint64_t events{100'000'000};  ///< in the store that is opened and read
  std::size_t topics{100'000};
  std::uint64_t rate_events{5'000'000};      ///< per run, of rates of writing
  std::uint64_t cleaned_events{20'000'000};  ///< per run, of the bytes that are written
};

/// Each prints a table, and returns the number of targets that were missed. Every measurement is a process of
/// its own.
int compare_appends(const AloneOptions& options);
int measure_large_store(const AloneOptions& options);
int measure_written_bytes(const AloneOptions& options);

}  // namespace backplane::bench
