#pragma once
// What a client was told of each topic.

#include <cstdint>
#include <map>
#include <sstream>
#include <string>

#include <gtest/gtest.h>

namespace backplane::gateway {

/// Of the lines of a client in format text+offset: the last offset of each topic, where each of its offsets
/// came or is in a gap, once and in order; else the test has failed. Answers are passed over.
inline std::map<std::string, std::uint64_t> told_offsets(const std::string& all) {
  std::map<std::string, std::uint64_t> told;
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
    if (first != told[topic] + 1) {
      ADD_FAILURE() << "wanted offset " << told[topic] + 1 << ", got: " << line;
      break;
    }
    told[topic] = last;
  }
  return told;
}

}  // namespace backplane::gateway
