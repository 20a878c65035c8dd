#include "gateway/protocols/mqtt/topics.hpp"

#include <algorithm>

#include "core/topic/topic.hpp"

namespace backplane::gateway::mqtt {
namespace {

// Characters of topics and patterns that mean nothing to MQTT: two names must not become one topic.
constexpr std::string_view not_mapped = ".*>";

std::string_view explain(TopicFault fault) noexcept {
  switch (fault) {
    case TopicFault::empty_token:
    case TopicFault::empty:
      return "a level is empty";
    case TopicFault::too_long:
      return "the topic is above 255 bytes";
    case TopicFault::forbidden_character:
      return "a level has white space or a control character";
    case TopicFault::reserved_first_byte:
      return "the topic begins with one of + - ! { $";
    default:
      return "the topic is not one of Backplane's";
  }
}

tl::unexpected<Fault> refuse(ReasonCode reason, std::string_view text) {
  return tl::unexpected(Fault{reason, text});
}

/// Removes the first level.
std::string_view take_level(std::string_view& rest) noexcept {
  const std::size_t end = std::min(rest.find('/'), rest.size());
  const std::string_view level = rest.substr(0, end);
  rest.remove_prefix(std::min(end + 1, rest.size()));
  return level;
}

}  // namespace

tl::expected<std::string, Fault> topic_of(std::string_view name) {
  constexpr auto reason = ReasonCode::topic_name_invalid;
  if (name.find_first_of(not_mapped) != std::string_view::npos)
    return refuse(reason, "a level has one of . * >");
  if (name.starts_with('$')) return refuse(reason, "topics that begin with $ belong to the system");
  std::string topic(name);
  std::replace(topic.begin(), topic.end(), '/', '.');
  if (const TopicFault fault = check_topic(topic); fault != TopicFault::none)
    return refuse(reason, explain(fault));
  return topic;
}

tl::expected<FilterPatterns, Fault> patterns_of(std::string_view filter) {
  constexpr auto reason = ReasonCode::topic_filter_invalid;
  if (filter == "$share" || filter.starts_with("$share/")) {
    return refuse(ReasonCode::shared_subscriptions_not_supported, "there are no shared subscriptions");
  }
  if (filter.find_first_of(not_mapped) != std::string_view::npos)
    return refuse(reason, "a level has one of . * >");
  FilterPatterns patterns{std::string(filter), {}};
  std::string& pattern = patterns.pattern;
  std::replace(pattern.begin(), pattern.end(), '/', '.');
  std::replace(pattern.begin(), pattern.end(), '+', '*');
  if (pattern.ends_with('#')) pattern.back() = '>';
  if (const TopicFault fault = check_pattern(pattern); fault != TopicFault::none) {
    return refuse(reason, explain(fault));
  }
  constexpr std::string_view all_below = ".>";
  if (pattern.ends_with(all_below)) {
    patterns.parent = pattern.substr(0, pattern.size() - all_below.size());
    // There is no topic $SYS.
    if (check_pattern(patterns.parent) != TopicFault::none) patterns.parent.clear();
  }
  return patterns;
}

bool filter_matches(std::string_view filter, std::string_view name) noexcept {
  const bool wild = filter.starts_with('+') || filter.starts_with('#');
  if (wild && name.starts_with('$')) return false;
  bool more = true;  // a level of the name is left, perhaps an empty one
  while (true) {
    const bool last = filter.find('/') == std::string_view::npos;
    const std::string_view level = take_level(filter);
    if (level == "#") return true;
    if (!more) return false;
    const bool name_last = name.find('/') == std::string_view::npos;
    const std::string_view own = take_level(name);
    if (level != "+" && level != own) return false;
    more = !name_last;
    if (last) return !more;
  }
}

}  // namespace backplane::gateway::mqtt
