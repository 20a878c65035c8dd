#pragma once
// Names of this machine, random ids and process limits.

#include <cstdint>
#include <string>

namespace backplane {

/// The host name up to its first dot; "localhost" if it has none.
std::string host_name();

/// 64 bits from the kernel's random source; never 0.
std::uint64_t random_id();

/// Raises the soft limit of open files to the hard limit. @returns the new limit.
std::uint64_t raise_open_files_limit() noexcept;

}  // namespace backplane
