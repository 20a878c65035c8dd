#pragma once
// What this machine and this process are called.

#include <cstdint>
#include <string>

namespace backplane {

/// The host's name up to its first dot; "localhost" where it has none.
std::string host_name();

/// 64 bits from the kernel's random source; never 0.
std::uint64_t random_id();

/// Raises the soft limit of open files to the hard one. @returns the limit now in force.
std::uint64_t raise_open_files_limit() noexcept;

}  // namespace backplane
