#pragma once
// Counts what operator new gives, for the program that links counted_new.

#include <atomic>
#include <cstddef>

namespace backplane::testing {

/// How often it was called, ever.
extern std::atomic<std::size_t> allocations;
/// What is held, with what the system's allocator keeps for itself.
extern std::atomic<std::size_t> allocated_bytes;

}  // namespace backplane::testing
