#pragma once
// What the threads of the store on disk share. Private to the store.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "broker/state/retention.hpp"
#include "broker/state/store_clock.hpp"
#include "broker/store/damage.hpp"
#include "broker/store/record.hpp"
#include "broker/store/segment.hpp"
#include "broker/store/stored_sessions.hpp"
#include "broker/store/stored_topics.hpp"
#include "core/thread/mutex.hpp"

namespace backplane::broker::store {

/// The state of the log in memory. Shared by the writer, the reader, the cleaner and the loop. The mutex is
/// locked for short times only, and never during I/O.
///
/// Whether an event is still in history is not stored anywhere. It follows from its record and its topic's
/// last event (is_in_history()). A topic loses its oldest events first, therefore the limits leave it a run
/// of events that ends with its last one.
struct LogState {
  explicit LogState(HistoryLimits with, std::size_t sessions_max)
      : limits(std::move(with)), sessions(sessions_max) {}

  Mutex mutex;
  HistoryLimits limits GUARDED_BY(mutex);
  StoredTopics topics GUARDED_BY(mutex);
  StoredSessions sessions GUARDED_BY(mutex);
  std::vector<std::string> types GUARDED_BY(mutex);
  StoreClock clock GUARDED_BY(mutex);
  /// In order of positions; the last one grows.
  std::vector<std::shared_ptr<Segment>> segments GUARDED_BY(mutex);
  std::uint64_t stream GUARDED_BY(mutex){};
  /// Incarnations of the stream that ended with the machine and have files left, oldest first.
  std::vector<std::uint64_t> earlier GUARDED_BY(mutex);
  std::uint64_t position GUARDED_BY(mutex){};  ///< of the last event written
  /// Events up to it are no longer in history, because of the total limit.
  std::uint64_t floor GUARDED_BY(mutex){};
  std::uint64_t values GUARDED_BY(mutex){};
  std::uint64_t expired_events GUARDED_BY(mutex){};  ///< removed from the disk
  std::uint64_t evicted_events GUARDED_BY(mutex){};  ///< removed from the disk, below the floor
  std::uint64_t written_events GUARDED_BY(mutex){};  ///< since the store was opened
  std::uint64_t freed_bytes GUARDED_BY(mutex){};     ///< by the cleaner
  DamageList damage GUARDED_BY(mutex);               ///< where events may have been destroyed
  std::uint64_t damaged_ranges GUARDED_BY(mutex){};  ///< of all files
  std::uint64_t other_bytes GUARDED_BY(mutex){};     ///< of indexes, checkpoints and earlier streams

  [[nodiscard]] const Retention& retention(const StoredTopic& topic) const REQUIRES(mutex);
  [[nodiscard]] std::uint16_t rule_for(std::string_view name) const REQUIRES(mutex);
  [[nodiscard]] bool is_in_history(const StoredTopic& topic, const Record& event) const REQUIRES(mutex);
  /// Whether the topic's last event is a retained value that has not reached its ttl.
  [[nodiscard]] bool has_current_value(const StoredTopic& topic) const REQUIRES(mutex);
  /// Nanoseconds until the topic's value, which is current, reaches its ttl. 0: never.
  [[nodiscard]] std::uint64_t value_left_ns(const StoredTopic& topic) const REQUIRES(mutex);
  [[nodiscard]] std::uint64_t shortest_ttl_ns() const REQUIRES(mutex);

  /// @returns whether it was not known.
  bool note_damage(const Damage& found) REQUIRES(mutex);

  /// The topic of a record; created if it is new.
  StoredTopic& topic_of(const Record& record) REQUIRES(mutex);
  /// The topic of an event that is to be stored; created with the next number if it is new.
  StoredTopic& topic_of(std::string_view name) REQUIRES(mutex);
  void set_value(StoredTopic& topic, bool has_value) REQUIRES(mutex);
  void set_limits(HistoryLimits with) REQUIRES(mutex);

  /// The index of the first segment with a position after `after` and, unless all are older, a time of at
  /// least `since`; segments.size(): none.
  [[nodiscard]] std::size_t segment_after(std::uint64_t after, std::int64_t since) const REQUIRES(mutex);
  [[nodiscard]] std::uint64_t log_bytes() const REQUIRES(mutex);
  [[nodiscard]] std::uint64_t records() const REQUIRES(mutex);
  /// Of the oldest event on disk; 0: there is none.
  [[nodiscard]] std::int64_t oldest_time() const REQUIRES(mutex);
};

}  // namespace backplane::broker::store
