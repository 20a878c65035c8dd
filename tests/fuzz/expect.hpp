#pragma once
// What a fuzz target does when a promise does not hold.

#include <cstdio>
#include <cstdlib>
#include <string>

namespace backplane::fuzz {

/// Says what was broken and aborts, so that the fuzzer keeps the input and the replay fails.
inline void expect(bool holds, const std::string& promise) {
  if (holds) return;
  std::fprintf(stderr, "broken promise: %s\n", promise.c_str());
  std::abort();
}

}  // namespace backplane::fuzz
