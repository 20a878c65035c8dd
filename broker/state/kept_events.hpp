#pragma once
// The events of the store in memory, and the rules for removing them. Private to the store.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <limits>
#include <span>
#include <vector>

#include "broker/state/event_pool.hpp"
#include "broker/state/history_store.hpp"
#include "broker/state/kept_topics.hpp"
#include "broker/state/position_list.hpp"
#include "broker/state/retention.hpp"
#include "broker/state/store_clock.hpp"

namespace backplane::broker {

/// An event in memory, followed by its bytes in the same block. It exists while it is in history or is its
/// topic's value. It is in one of two lists: history, or values that are no longer in history.
struct KeptEvent {
  KeptEvent* older{};  ///< in its list
  KeptEvent* newer{};
  KeptEvent* next_of_topic{};  ///< in history
  KeptTopic* topic{};
  std::uint64_t position{};
  std::int64_t time{};  ///< on the store's clock
  std::uint32_t event_bytes{};
  bool leads_run{};  ///< see PositionList
  bool in_history{};
  bool is_value{};

  [[nodiscard]] std::uint64_t list_position() const noexcept { return position; }
  [[nodiscard]] std::span<const std::byte> event() const noexcept {
    return {reinterpret_cast<const std::byte*>(this + 1), event_bytes};
  }
  [[nodiscard]] std::uint64_t offset() const noexcept;
};

/// A ring of the last events that history dropped, newest last. A continued read checks these instead of all
/// topics. Not thread-safe.
class DropLog {
 public:
  explicit DropLog(std::size_t entries_max) : entries_max_(entries_max == 0 ? 1 : entries_max) {}
  void add(const KeptTopic& topic, std::uint64_t position);
  /// How many have been dropped so far. at() accepts the numbers that covers_from() is true for.
  [[nodiscard]] std::uint64_t total() const noexcept { return total_; }
  [[nodiscard]] bool covers_from(std::uint64_t number) const noexcept {
    return number <= total_ && total_ - number <= entries_.size();
  }
  struct Entry {
    const KeptTopic* topic;
    std::uint64_t position;
  };
  [[nodiscard]] const Entry& at(std::uint64_t number) const { return entries_[number % entries_max_]; }

 private:
  std::size_t entries_max_;
  std::vector<Entry> entries_;
  std::uint64_t total_{0};
  std::size_t next_{0};  // total_ % entries_max_, without the division
};

/// Limits of the work per call. With the defaults, a call takes a few milliseconds at most.
struct HistoryWork {
  std::size_t scan_events_max = 16'384;   ///< events examined per slice
  std::size_t check_topics_max = 65'536;  ///< topics checked for losses per slice
  std::size_t expire_max = 65'536;        ///< events, and values, removed for their age per call
  std::size_t expire_on_append = 64;      ///< the same, per appended event
  std::size_t drop_log_entries = 65'536;
};

/// The state of MemoryHistory. Lives on the loop thread. Owns every event and topic.
class KeptEvents {
 public:
  KeptEvents(HistoryLimits limits, const HistoryWork& work);
  ~KeptEvents();
  KeptEvents(const KeptEvents&) = delete;
  KeptEvents& operator=(const KeptEvents&) = delete;

  /// Sets new limits. Visits every topic once (about 0.1 µs each). add() and expire() remove what is above
  /// them.
  void set_limits(HistoryLimits limits);
  /// The topic of an event to be added; creates it if it is new.
  KeptTopic& topic_of(const HistoryAppend& item);
  /// Prefetches the memory that add() of this event will need.
  void prefetch(const HistoryAppend& item, const KeptTopic& topic) const;
  void add(const HistoryAppend& item, KeptTopic& topic);
  /// Adds a topic that has dropped all its events. Before the first add().
  void add_dropped(const HistoryStore::Tail& tail);
  /// Advances the clock to `wall_ns`.
  void advance(std::int64_t wall_ns) { clock_.advance(wall_ns); }
  /// Removes what is too old. @returns false if some of it is left for the next call.
  bool expire();
  /// Evicts what is above the total limit; at most `events_max` events of history.
  void evict(std::size_t events_max);

  using History = PositionList<KeptEvent, 9>;  // runs of 512
  [[nodiscard]] const KeptTopics& topics() const noexcept { return topics_; }
  [[nodiscard]] const History& history() const noexcept { return history_; }
  [[nodiscard]] const DropLog& drops() const noexcept { return drops_; }
  [[nodiscard]] const StoreClock& clock() const noexcept { return clock_; }
  [[nodiscard]] const EventPool& pool() const noexcept { return pool_; }
  [[nodiscard]] const HistoryWork& work() const noexcept { return work_; }
  [[nodiscard]] std::uint64_t last_position() const noexcept { return last_position_; }
  /// The highest position, and the latest time, of all events that history has dropped.
  [[nodiscard]] std::uint64_t dropped_position_max() const noexcept { return dropped_position_max_; }
  [[nodiscard]] std::int64_t dropped_time_max() const noexcept { return dropped_time_max_; }
  [[nodiscard]] HistoryStore::Figures figures() const noexcept;
  [[nodiscard]] bool is_current(const KeptEvent& value) const;
  /// Nanoseconds until `value`, which is current, reaches its ttl, and the shortest ttl of any value. 0:
  /// never.
  [[nodiscard]] std::uint64_t value_left_ns(const KeptEvent& value) const;
  [[nodiscard]] std::uint64_t shortest_ttl_ns() const;

 private:
  // When a topic's oldest event, or its value, becomes too old. It may have been replaced since, but only by
  // a later one, because the clock never goes back: a topic that is due too early is checked and queued
  // again.
  struct Due {
    std::int64_t time;
    KeptTopic* topic;
    bool operator<(const Due& other) const noexcept {
      return time > other.time;
    }  // a heap has its maximum on top
  };
  using DueQueue = std::deque<Due>;  // grows without moving a million entries

  [[nodiscard]] const Retention& retention(const KeptTopic& topic) const;
  [[nodiscard]] std::int64_t history_end(const KeptEvent& event) const;
  [[nodiscard]] std::int64_t value_end(const KeptEvent& event) const;
  [[nodiscard]] std::uint16_t rule_for(std::string_view name) const;

  KeptEvent& make(const HistoryAppend& item, KeptTopic& topic, std::int64_t time);
  void release(KeptEvent& event);
  void set_value(KeptTopic& topic, KeptEvent* value);
  void drop_oldest(KeptTopic& topic);
  void prefetch_oldest() const;
  void enforce_bounds(KeptTopic& topic);
  void queue_history(KeptTopic& topic);
  void queue_value(KeptTopic& topic);
  bool sweep(std::size_t steps);
  bool expire_history(std::size_t steps);
  bool expire_values(std::size_t steps);

  HistoryLimits limits_;
  HistoryWork work_;
  EventPool pool_;
  KeptTopics topics_;
  History history_;
  PositionList<KeptEvent, 9> values_only_;  // least recently written first
  StoreClock clock_;
  DropLog drops_;
  DueQueue history_due_;
  DueQueue value_due_;
  // The first block of topics that has not been checked against new limits yet; `swept`: all have.
  static constexpr std::size_t swept = std::numeric_limits<std::size_t>::max();
  std::size_t sweep_block_{swept};
  std::uint64_t last_position_{0};
  std::uint64_t dropped_position_max_{0};
  std::int64_t dropped_time_max_{std::numeric_limits<std::int64_t>::min()};
  HistoryStore::Figures figures_;  // without bytes
};

}  // namespace backplane::broker
