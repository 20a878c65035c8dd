#pragma once
// The events that a store in memory holds, and the rules by which it gives them up. For the store's sources.

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

namespace backplane::broker {

/// An event in memory, its bytes right behind it in the same block. It lives while it is in history or is
/// its topic's value, and stands in one of two lists: history, or values that history no longer holds.
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

/// The store's clock: the broker's wall clock, but it never goes back. Steps back of up to a second are
/// waited out. At a larger one everything that came before is moved back by as much, so that ages stay
/// true and a time asked for means the clock as it is now.
class StoreClock {
 public:
  /// It is `wall_ns`. @returns the store's time.
  std::int64_t advance(std::int64_t wall_ns) noexcept;
  [[nodiscard]] std::int64_t now() const noexcept { return now_; }
  /// The store's time of a time by the wall clock as it goes now.
  [[nodiscard]] std::int64_t of(std::int64_t wall_ns) const noexcept;

 private:
  std::int64_t now_;
  std::int64_t shift_{0};
  bool started_{false};
};

/// The last events that history gave up, newest last: what a read that goes on must look at, instead of at
/// all topics. A ring. One thread.
class DropLog {
 public:
  explicit DropLog(std::size_t entries_max) : entries_max_(entries_max == 0 ? 1 : entries_max) {}
  void add(const KeptTopic& topic, std::uint64_t position);
  /// How many there have been; at() takes their numbers, from total() - covered on.
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

/// How much is done in one go. The defaults take a few milliseconds at most.
struct HistoryWork {
  std::size_t scan_events_max = 16'384;   ///< events looked at for a slice
  std::size_t check_topics_max = 65'536;  ///< topics looked at for a slice, for what they have lost
  std::size_t expire_max = 65'536;        ///< events, and values, given up for their age in one go
  std::size_t expire_on_append = 64;      ///< the same, beside an event that comes in
  std::size_t drop_log_entries = 65'536;
};

/// See MemoryHistory, whose state this is. Lives on the loop thread. Owns every event and topic.
class KeptEvents {
 public:
  KeptEvents(HistoryLimits limits, const HistoryWork& work);
  ~KeptEvents();
  KeptEvents(const KeptEvents&) = delete;
  KeptEvents& operator=(const KeptEvents&) = delete;

  /// New bounds. Looks at every topic once (some 0.1 µs each); what is above them goes by add() and expire().
  void set_limits(HistoryLimits limits);
  /// The topic of an event to come, known from now on.
  KeptTopic& topic_of(const HistoryAppend& item);
  /// What add() of this event will need from memory, so that it need not wait for it then.
  void prefetch(const HistoryAppend& item, const KeptTopic& topic) const;
  void add(const HistoryAppend& item, KeptTopic& topic);
  /// It is `wall_ns` now.
  void advance(std::int64_t wall_ns) { clock_.advance(wall_ns); }
  /// Gives up what is too old. @returns false where some of that is left for the next call.
  bool expire();
  /// Gives up what the bound of all asks for; looks at `events_max` events of history at most.
  void evict(std::size_t events_max);

  using History = PositionList<KeptEvent, 9>;  // runs of 512
  [[nodiscard]] const KeptTopics& topics() const noexcept { return topics_; }
  [[nodiscard]] const History& history() const noexcept { return history_; }
  [[nodiscard]] const DropLog& drops() const noexcept { return drops_; }
  [[nodiscard]] const StoreClock& clock() const noexcept { return clock_; }
  [[nodiscard]] const EventPool& pool() const noexcept { return pool_; }
  [[nodiscard]] const HistoryWork& work() const noexcept { return work_; }
  [[nodiscard]] std::uint64_t last_position() const noexcept { return last_position_; }
  /// The highest position, and the latest time, that history has given up, of any topic.
  [[nodiscard]] std::uint64_t dropped_position_max() const noexcept { return dropped_position_max_; }
  [[nodiscard]] std::int64_t dropped_time_max() const noexcept { return dropped_time_max_; }
  [[nodiscard]] HistoryStore::Figures figures() const noexcept;
  [[nodiscard]] bool is_current(const KeptEvent& value) const;
  /// Nanoseconds until the value, which is current, ends for its ttl, and until one that is kept now does at
  /// the earliest. 0: never.
  [[nodiscard]] std::uint64_t value_left_ns(const KeptEvent& value) const;
  [[nodiscard]] std::uint64_t shortest_ttl_ns() const;

 private:
  // When a topic's oldest event, or its value, is too old. It may since have been replaced, then by a later
  // one, for the clock never goes back: so whoever is due is looked at, and put back if it is too early.
  struct Due {
    std::int64_t time;
    KeptTopic* topic;
    bool operator<(const Due& other) const noexcept {
      return time > other.time;
    }  // a heap has the last on top
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
  // Blocks of topics whose bounds are still to be looked at, since they are new: from this one on.
  static constexpr std::size_t swept = std::numeric_limits<std::size_t>::max();
  std::size_t sweep_block_{swept};
  std::uint64_t last_position_{0};
  std::uint64_t dropped_position_max_{0};
  std::int64_t dropped_time_max_{std::numeric_limits<std::int64_t>::min()};
  HistoryStore::Figures figures_;  // without bytes
};

}  // namespace backplane::broker
