#pragma once
// How long and how much is stored, by pattern.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/topic/pattern.hpp"

namespace backplane::broker {

/// Limits of one topic's history and value. Whichever is reached first applies.
struct Retention {
  std::size_t history_events = 65'536;
  std::size_t history_bytes = 16u << 20;
  std::chrono::nanoseconds history_age = std::chrono::hours{1};
  std::chrono::nanoseconds value_ttl{0};  ///< 0: until it is replaced, cleared or evicted
};

/// Retention for the topics of a pattern. The first rule that matches applies.
struct RetentionRule {
  Pattern pattern;
  Retention retention;
};

struct HistoryLimits {
  std::vector<RetentionRule> rules;
  Retention otherwise;
  std::size_t bytes_max = 256u << 20;  ///< for all values and history together
};

}  // namespace backplane::broker
