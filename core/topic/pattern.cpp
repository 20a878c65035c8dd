#include "core/topic/pattern.hpp"

#include <algorithm>

#include "core/topic/topic.hpp"

namespace backplane {
namespace {

/// Removes the first token and its dot from `rest`.
std::string_view take_token(std::string_view& rest) noexcept {
  const std::string_view token = rest.substr(0, rest.find('.'));
  rest.remove_prefix(std::min(token.size() + 1, rest.size()));
  return token;
}

/// Whether a pattern that begins with `*` or `>` cannot match what `other` does: the system's topics.
bool excludes_system_topics(std::string_view pattern, std::string_view other) noexcept {
  return (pattern.front() == '*' || pattern.front() == '>') && is_system_topic(other);
}

}  // namespace

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

bool Pattern::covers(const Pattern& other) const noexcept {
  if (excludes_system_topics(text_, other.text_)) return false;
  std::string_view mine = text_;
  std::string_view theirs = other.text_;
  while (!mine.empty() && !theirs.empty()) {
    const std::string_view token = take_token(mine);
    if (token == ">") return true;
    const std::string_view wanted = take_token(theirs);
    if (wanted == ">" || (token != "*" && token != wanted)) return false;
  }
  return mine.empty() && theirs.empty();
}

bool Pattern::overlaps(const Pattern& other) const noexcept {
  if (excludes_system_topics(text_, other.text_) || excludes_system_topics(other.text_, text_)) return false;
  std::string_view mine = text_;
  std::string_view theirs = other.text_;
  while (!mine.empty() && !theirs.empty()) {
    const std::string_view token = take_token(mine);
    const std::string_view wanted = take_token(theirs);
    if (token == ">" || wanted == ">") return true;
    if (token != "*" && wanted != "*" && token != wanted) return false;
  }
  return mine.empty() && theirs.empty();
}

}  // namespace backplane
