#pragma once
// The topics that a user may read.

#include <algorithm>
#include <cstddef>
#include <string_view>
#include <utility>
#include <vector>

#include "core/topic/pattern.hpp"

namespace backplane::broker {

/// Hides the topics that no pattern matches. Immutable: any number of threads can use it.
class TopicFilter {
 public:
  explicit TopicFilter(std::vector<Pattern> patterns) : patterns_(std::move(patterns)) {}

  [[nodiscard]] bool matches(std::string_view topic) const noexcept {
    return std::any_of(patterns_.begin(), patterns_.end(),
                       [&](const Pattern& each) { return each.matches(topic); });
  }
  /// What matches() costs: it compares this many.
  [[nodiscard]] const std::vector<Pattern>& patterns() const noexcept { return patterns_; }

 private:
  std::vector<Pattern> patterns_;
};

}  // namespace backplane::broker
