#include "broker/store/log_state.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include "core/error/error.hpp"

namespace backplane::broker::store {
namespace {

constexpr std::int64_t never = std::numeric_limits<std::int64_t>::max();

}  // namespace

const Retention& LogState::retention(const StoredTopic& topic) const {
  return topic.rule < limits.rules.size() ? limits.rules[topic.rule].retention : limits.otherwise;
}

std::uint16_t LogState::rule_for(std::string_view name) const {
  const auto rule = std::ranges::find_if(
      limits.rules, [&](const RetentionRule& candidate) { return candidate.pattern.matches(name); });
  return static_cast<std::uint16_t>(rule - limits.rules.begin());
}

bool LogState::is_in_history(const StoredTopic& topic, const Record& event) const {
  const Retention& limit = retention(topic);
  // A record that is newer than the topic's last event is being written.
  const std::uint64_t newer = topic.offset - std::min(topic.offset, event.offset);
  const std::uint64_t bytes = std::max(topic.bytes, event.number + event.body.size()) - event.number;
  return event.position > floor && newer < limit.history_events && bytes <= limit.history_bytes &&
         add_bounded(event.time, limit.history_age.count()) > clock.now();
}

bool LogState::has_current_value(const StoredTopic& topic) const {
  if (!topic.has_value) return false;
  const std::int64_t ttl = retention(topic).value_ttl.count();
  return ttl == 0 || add_bounded(topic.time, ttl) > clock.now();
}

std::uint64_t LogState::value_left_ns(const StoredTopic& topic) const {
  const std::int64_t ttl = retention(topic).value_ttl.count();
  const std::int64_t end = ttl == 0 ? never : add_bounded(topic.time, ttl);
  return end == never ? 0 : static_cast<std::uint64_t>(end - clock.now());
}

std::uint64_t LogState::shortest_ttl_ns() const {
  auto shortest = static_cast<std::uint64_t>(limits.otherwise.value_ttl.count());
  for (const RetentionRule& rule : limits.rules) {
    const auto ttl = static_cast<std::uint64_t>(rule.retention.value_ttl.count());
    if (ttl > 0 && (shortest == 0 || ttl < shortest)) shortest = ttl;
  }
  return shortest;
}

bool LogState::note_damage(const Damage& found) {
  if (!damage.add(found)) return false;
  ++damaged_ranges;
  return true;
}

StoredTopic& LogState::topic_of(const Record& record) {
  if (StoredTopic* const known = topics.find(record.name); known != nullptr) return *known;
  return topics.add(record.name, record.topic, rule_for(record.name));
}

StoredTopic& LogState::topic_of(std::string_view name) {
  if (StoredTopic* const known = topics.find(name); known != nullptr) return *known;
  return topics.add(name, topics.next_number(), rule_for(name));
}

void LogState::set_value(StoredTopic& topic, bool has_value) {
  if (topic.has_value) --values;
  if (has_value) ++values;
  topic.has_value = has_value;
}

void LogState::set_limits(HistoryLimits with) {
  CHECK(with.rules.size() < std::numeric_limits<std::uint16_t>::max(), "rules are counted in 16 bits");
  limits = std::move(with);
  for (std::size_t block = 0; block < topics.in_memory().blocks(); ++block) {
    // Called before visit_block() returns; the analysis does not see that.
    topics.in_memory().visit_block(block,
                                   [this](StoredTopic& topic) THREAD_ANNOTATION(no_thread_safety_analysis) {
                                     topic.rule = rule_for(topic.name_view());
                                   });
  }
}

std::size_t LogState::segment_after(std::uint64_t after, std::int64_t since) const {
  const auto found = std::ranges::partition_point(segments, [&](const std::shared_ptr<Segment>& segment) {
    return segment->through <= after || segment->last_time < since;
  });
  return static_cast<std::size_t>(found - segments.begin());
}

std::uint64_t LogState::log_bytes() const {
  std::uint64_t bytes = 0;
  for (const auto& segment : segments) bytes += segment->bytes;
  return bytes;
}

std::uint64_t LogState::records() const {
  std::uint64_t records = 0;
  for (const auto& segment : segments) records += segment->records;
  return records;
}

std::int64_t LogState::oldest_time() const {
  for (const auto& segment : segments) {
    if (!segment->blocks.empty()) return segment->blocks.front().time;
  }
  return 0;
}

}  // namespace backplane::broker::store
