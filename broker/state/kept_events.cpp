#include "broker/state/kept_events.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <new>
#include <utility>

#include "broker/state/prefetch.hpp"
#include "core/error/error.hpp"

namespace backplane::broker {
namespace {

using Nanoseconds = std::int64_t;
constexpr Nanoseconds never = std::numeric_limits<Nanoseconds>::max();

}  // namespace

void DropLog::add(const KeptTopic& topic, std::uint64_t position) {
  if (entries_.empty()) entries_.reserve(entries_max_);
  if (entries_.size() < entries_max_) {
    entries_.push_back({&topic, position});
  } else {
    entries_[next_] = {&topic, position};
  }
  ++total_;
  if (++next_ == entries_max_) next_ = 0;
}

std::uint64_t KeptEvent::offset() const noexcept {
  return wire::stamped_offset(event());
}

KeptEvents::KeptEvents(HistoryLimits limits, const HistoryWork& work)
    : work_(work), pool_(0), drops_(work.drop_log_entries) {
  set_limits(std::move(limits));
}

KeptEvents::~KeptEvents() {
  for (auto* list : {&history_, &values_only_}) {
    for (KeptEvent* event = list->first(); event != nullptr;) release(*std::exchange(event, event->newer));
  }
}

void KeptEvents::set_limits(HistoryLimits limits) {
  CHECK(limits.rules.size() < std::numeric_limits<std::uint16_t>::max(), "rules are counted in 16 bits");
  limits_ = std::move(limits);
  // A 32nd: enough for any constant mixture of sizes, too little to matter.
  pool_.set_slack_max(std::max<std::size_t>(limits_.bytes_max / 32, 64u << 10));
  history_due_.clear();
  value_due_.clear();
  for (std::size_t block = 0; block < topics_.in_memory().blocks(); ++block) {
    topics_.in_memory().visit_block(block, [&](KeptTopic& topic) {
      topic.rule = rule_for(topic.name_view());
      topic.history_due = topic.value_due = false;
      queue_history(topic);
      queue_value(topic);
    });
  }
  sweep_block_ = topics_.in_memory().blocks() == 0 ? swept : 0;
}

const Retention& KeptEvents::retention(const KeptTopic& topic) const {
  return topic.rule < limits_.rules.size() ? limits_.rules[topic.rule].retention : limits_.otherwise;
}

std::uint16_t KeptEvents::rule_for(std::string_view name) const {
  const auto rule =
      std::find_if(limits_.rules.begin(), limits_.rules.end(),
                   [&](const RetentionRule& candidate) { return candidate.pattern.matches(name); });
  return static_cast<std::uint16_t>(rule - limits_.rules.begin());
}

// The time from which on the event is too old.
std::int64_t KeptEvents::history_end(const KeptEvent& event) const {
  return add_bounded(event.time, retention(*event.topic).history_age.count());
}

std::int64_t KeptEvents::value_end(const KeptEvent& event) const {
  const std::chrono::nanoseconds ttl = retention(*event.topic).value_ttl;
  return ttl.count() == 0 ? never : add_bounded(event.time, ttl.count());
}

std::uint64_t KeptEvents::value_left_ns(const KeptEvent& value) const {
  const std::int64_t end = value_end(value);
  return end == never ? 0 : static_cast<std::uint64_t>(end - clock_.now());
}

std::uint64_t KeptEvents::shortest_ttl_ns() const {
  std::uint64_t shortest = static_cast<std::uint64_t>(limits_.otherwise.value_ttl.count());
  for (const RetentionRule& rule : limits_.rules) {
    const auto ttl = static_cast<std::uint64_t>(rule.retention.value_ttl.count());
    if (ttl > 0 && (shortest == 0 || ttl < shortest)) shortest = ttl;
  }
  return shortest;
}

bool KeptEvents::is_current(const KeptEvent& value) const {
  return value_end(value) > clock_.now();
}

KeptTopic& KeptEvents::topic_of(const HistoryAppend& item) {
  if (item.topic_mark != nullptr && *item.topic_mark != nullptr)
    return *static_cast<KeptTopic*>(*item.topic_mark);
  KeptTopic* topic = topics_.find(item.topic);
  if (topic == nullptr) topic = &topics_.add(item.topic, rule_for(item.topic));
  if (item.topic_mark != nullptr) *item.topic_mark = topic;
  return *topic;
}

void KeptEvents::prefetch(const HistoryAppend& item, const KeptTopic& topic) const {
  if (topic.last != nullptr) __builtin_prefetch(topic.last, 1);
  if (topic.value != nullptr) __builtin_prefetch(&topic.value->event_bytes, 1);
  // The oldest event is removed for it, and probably has the same size.
  if (topic.first != nullptr && topic.history_events >= retention(topic).history_events) {
    prefetch_lines(topic.first, sizeof(KeptEvent) + item.event.size());
  }
}

void KeptEvents::add(const HistoryAppend& item, KeptTopic& topic) {
  CHECK(item.stamp.position > last_position_, "events come in the order of their positions");
  CHECK(wire::is_stamped(item.event, item.stamp.position), "an event ends in its stamp");

  KeptEvent& event = make(item, topic, clock_.advance(item.stamp.received_ns));
  last_position_ = event.position;

  event.in_history = true;
  history_.insert(event);
  (topic.first == nullptr ? topic.first : topic.last->next_of_topic) = &event;
  topic.last = &event;
  ++topic.history_events;
  topic.history_bytes += event.event_bytes;
  ++figures_.events;
  queue_history(topic);

  set_value(topic, item.clears_value ? nullptr : &event);
  enforce_bounds(topic);
  expire_history(work_.expire_on_append);
  expire_values(work_.expire_on_append);
  // Dropping an event that is also a value frees nothing. The work is therefore limited by the size of the
  // new event, so that a store full of values does not drop all its history at once. Until it is done, the
  // limit may be exceeded by no more than 16 bytes per stored event.
  evict(64 + item.event.size() / 16);
}

KeptEvent& KeptEvents::make(const HistoryAppend& item, KeptTopic& topic, std::int64_t time) {
  CHECK(item.event.size() <= std::numeric_limits<std::uint32_t>::max(), "an event is smaller than 4 GiB");
  auto* const event = ::new (pool_.take(sizeof(KeptEvent) + item.event.size())) KeptEvent{};
  event->topic = &topic;
  event->position = item.stamp.position;
  event->time = time;
  event->event_bytes = static_cast<std::uint32_t>(item.event.size());
  std::memcpy(event + 1, item.event.data(), item.event.size());
  return *event;
}

void KeptEvents::release(KeptEvent& event) {
  pool_.give(&event, sizeof(KeptEvent) + event.event_bytes);
}

void KeptEvents::set_value(KeptTopic& topic, KeptEvent* value) {
  if (KeptEvent* const old = std::exchange(topic.value, value); old != nullptr) {
    old->is_value = false;
    --figures_.values;
    if (!old->in_history) {
      values_only_.erase(*old);
      release(*old);
    }
  }
  if (value == nullptr) return;
  value->is_value = true;
  ++figures_.values;
  queue_value(topic);
}

void KeptEvents::drop_oldest(KeptTopic& topic) {
  KeptEvent& event = *topic.first;
  topic.first = std::exchange(event.next_of_topic, nullptr);
  if (topic.first == nullptr) topic.last = nullptr;
  --topic.history_events;
  topic.history_bytes -= event.event_bytes;
  topic.dropped_position = event.position;
  topic.dropped_offset = event.offset();
  topic.dropped_time = event.time;
  dropped_position_max_ = std::max(dropped_position_max_, event.position);
  dropped_time_max_ = std::max(dropped_time_max_, event.time);
  drops_.add(topic, event.position);
  --figures_.events;

  history_.erase(event);
  event.in_history = false;
  if (event.is_value) {
    values_only_.insert(event);
  } else {
    release(event);
  }
}

void KeptEvents::add_dropped(const HistoryStore::Tail& tail) {
  KeptTopic& topic = topics_.add(tail.topic, rule_for(tail.topic));
  topic.dropped_position = tail.position;
  topic.dropped_offset = tail.offset;
  topic.dropped_time = tail.received_ns;
  dropped_position_max_ = std::max(dropped_position_max_, topic.dropped_position);
  dropped_time_max_ = std::max(dropped_time_max_, topic.dropped_time);
  last_position_ = std::max(last_position_, tail.position);
}

// In a full store, the oldest event is dropped for each event that is added, and the new one is written into
// its block. Both are no longer in the caches: while one turn works, the memory for the next is fetched.
void KeptEvents::prefetch_oldest() const {
  const KeptEvent* const oldest = history_.first();
  if (oldest == nullptr) return;
  __builtin_prefetch(oldest->topic, 1);
  if (oldest->newer != nullptr) __builtin_prefetch(oldest->newer, 1);
  prefetch_lines(oldest, sizeof(KeptEvent) + oldest->event_bytes);
}

void KeptEvents::enforce_bounds(KeptTopic& topic) {
  const Retention& bounds = retention(topic);
  while (topic.first != nullptr &&
         (topic.history_events > bounds.history_events || topic.history_bytes > bounds.history_bytes)) {
    const std::size_t bytes = sizeof(KeptEvent) + topic.first->event_bytes;
    drop_oldest(topic);
    ++figures_.expired_events;
    // If a topic has many events in a row, its second next event is dropped soon.
    if (topic.first != nullptr && topic.first->next_of_topic != nullptr) {
      prefetch_lines(topic.first->next_of_topic, bytes);
    }
  }
}

void KeptEvents::evict(std::size_t events_max) {
  while (pool_.taken_bytes() > limits_.bytes_max) {
    if (KeptEvent* const oldest = history_.first(); oldest != nullptr) {
      if (events_max-- == 0) return;
      drop_oldest(*oldest->topic);
      ++figures_.evicted_events;
      prefetch_oldest();
    } else if (KeptEvent* const value = values_only_.first(); value != nullptr) {
      set_value(*value->topic, nullptr);
      ++figures_.evicted_values;
    } else {
      return;
    }
  }
}

void KeptEvents::queue_history(KeptTopic& topic) {
  if (topic.history_due || topic.first == nullptr) return;
  const std::int64_t end = history_end(*topic.first);
  if (end == never) return;
  topic.history_due = true;
  history_due_.push_back({end, &topic});
  std::push_heap(history_due_.begin(), history_due_.end());
}

void KeptEvents::queue_value(KeptTopic& topic) {
  if (topic.value_due || topic.value == nullptr) return;
  const std::int64_t end = value_end(*topic.value);
  if (end == never) return;
  topic.value_due = true;
  value_due_.push_back({end, &topic});
  std::push_heap(value_due_.begin(), value_due_.end());
}

bool KeptEvents::expire() {
  const bool bounds_kept = sweep(work_.expire_max);
  const bool history_done = expire_history(work_.expire_max);
  const bool values_done = expire_values(work_.expire_max);
  return bounds_kept && history_done && values_done;
}

// After new limits: topics without new events must obey them, too.
bool KeptEvents::sweep(std::size_t steps) {
  const std::uint64_t drops_max = drops_.total() + steps;
  for (std::size_t looked_at = 0; sweep_block_ < topics_.in_memory().blocks(); ++sweep_block_) {
    if (looked_at >= steps || drops_.total() >= drops_max) return false;
    topics_.in_memory().visit_block(sweep_block_, [&](KeptTopic& topic) { enforce_bounds(topic); });
    looked_at += topics_.in_memory().elements_in(sweep_block_);
  }
  sweep_block_ = swept;
  return true;
}

bool KeptEvents::expire_history(std::size_t steps) {
  while (!history_due_.empty() && history_due_.front().time <= clock_.now()) {
    if (steps == 0) return false;
    --steps;
    KeptTopic& topic = *history_due_.front().topic;
    std::pop_heap(history_due_.begin(), history_due_.end());
    history_due_.pop_back();
    topic.history_due = false;
    while (steps > 0 && topic.first != nullptr && history_end(*topic.first) <= clock_.now()) {
      --steps;
      drop_oldest(topic);
      ++figures_.expired_events;
    }
    queue_history(topic);
  }
  return true;
}

bool KeptEvents::expire_values(std::size_t steps) {
  while (!value_due_.empty() && value_due_.front().time <= clock_.now()) {
    if (steps == 0) return false;
    --steps;
    KeptTopic& topic = *value_due_.front().topic;
    std::pop_heap(value_due_.begin(), value_due_.end());
    value_due_.pop_back();
    topic.value_due = false;
    if (topic.value != nullptr && !is_current(*topic.value)) {
      set_value(topic, nullptr);
      ++figures_.expired_values;
    }
    queue_value(topic);
  }
  return true;
}

HistoryStore::Figures KeptEvents::figures() const noexcept {
  HistoryStore::Figures figures = figures_;
  figures.bytes = pool_.taken_bytes();
  figures.through_position = last_position_;
  return figures;
}

}  // namespace backplane::broker
