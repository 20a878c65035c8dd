#pragma once
// Names of this machine, random ids and process limits.

#include <cstdint>
#include <string>

namespace backplane {

/// The host name up to its first dot; "localhost" if it has none.
std::string host_name();

/// 64 bits from the kernel's random source; never 0.
std::uint64_t random_id();

/// What this process uses of its machine, and may use.
struct ProcessFigures {
  std::uint64_t memory_bytes{};      ///< resident; 0: unknown
  std::uint64_t memory_bytes_max{};  ///< of its control group, or of the machine; 0: unknown
  std::uint64_t open_files{};        ///< about: the lowest descriptor that is free
  std::uint64_t open_files_max{};
};
/// Reads some small files of /proc and /sys, in some 50 µs.
[[nodiscard]] ProcessFigures process_figures();

/// Raises the soft limit of open files to the hard limit. @returns the new limit.
std::uint64_t raise_open_files_limit() noexcept;

}  // namespace backplane
