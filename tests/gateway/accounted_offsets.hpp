#pragma once
// The offsets that a client received or that were announced to it as lost.

#include <cstdint>
#include <map>
#include <sstream>
#include <string>

#include <gtest/gtest.h>

namespace backplane::gateway {

/// Reads the lines of a client in format text+offset. @returns the last offset of each topic. Fails the test
/// if an offset has neither arrived nor been announced in a gap, once and in order. Replies are ignored.
inline std::map<std::string, std::uint64_t> accounted_offsets(const std::string& all) {
  std::map<std::string, std::uint64_t> accounted;
  std::istringstream lines(all);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("+OK ")) continue;
    std::istringstream words(line);
    std::string topic;
    std::uint64_t first = 0;
    words >> topic;
    const bool gap = topic == "!GAP";
    if (gap) words >> topic;
    words >> first;
    std::uint64_t last = first;
    if (gap) words >> last;
    if (first != accounted[topic] + 1) {
      ADD_FAILURE() << "expected offset " << accounted[topic] + 1 << ", got: " << line;
      break;
    }
    accounted[topic] = last;
  }
  return accounted;
}

}  // namespace backplane::gateway
