#include "core/topic/pattern.hpp"

#include <algorithm>

#include "core/topic/topic.hpp"

namespace backplane {

Result<Pattern> Pattern::parse(std::string_view text) {
  const TopicFault fault = check_pattern(text);
  if (fault != TopicFault::none) return fail(ErrorCode::invalid_argument, describe(fault, text));
  // In a checked pattern a wildcard is a whole token: the text before it ends in a dot or is empty.
  return Pattern(std::string(text), std::min(text.find_first_of("*>"), text.size()));
}

bool Pattern::matches(std::string_view topic) const noexcept {
  const std::string_view pattern = text_;
  if (is_exact()) return topic == pattern;
  if (!topic.starts_with(literal_prefix())) return false;
  if (literal_bytes_ == 0 && is_system_topic(topic)) return false;

  // Both are at the beginning of a token in each iteration.
  std::size_t p = literal_bytes_;
  std::size_t t = literal_bytes_;
  while (p < pattern.size() && t < topic.size()) {
    if (pattern[p] == '>') return true;
    const std::size_t topic_end = std::min(topic.find('.', t), topic.size());
    const std::size_t pattern_end = std::min(pattern.find('.', p), pattern.size());
    const std::string_view expected = pattern.substr(p, pattern_end - p);
    if (expected != "*" && expected != topic.substr(t, topic_end - t)) return false;
    p = pattern_end + 1;
    t = topic_end + 1;
  }
  return p > pattern.size() && t > topic.size();
}

}  // namespace backplane
