#pragma once
// Damage to the log: where events may have been destroyed, and which ones were.

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <vector>

#include "broker/store/record.hpp"

namespace backplane::broker::store {

struct LogState;
struct Segment;

/// The positions between two intact events, of which some were destroyed.
struct Damage {
  std::uint64_t after{};   ///< the intact event before; 0: none
  std::uint64_t before{};  ///< the intact event that follows, or the position after the last one
  std::int64_t time{};     ///< none of the destroyed events is later
};

/// The damage that has been found so far, in order. Not thread-safe.
class DamageList {
 public:
  /// @returns whether a part of it was not known.
  bool add(const Damage& damage);
  [[nodiscard]] const Damage* at(std::uint64_t position) const;
  /// Whether a read of what is after `position`, up to `until` and not older than `since` meets damage.
  [[nodiscard]] bool affects(std::uint64_t position, std::uint64_t until, std::int64_t since) const;
  [[nodiscard]] bool empty() const noexcept { return list_.empty(); }
  /// How often add() has found something new.
  [[nodiscard]] std::uint64_t changes() const noexcept { return changes_; }

 private:
  std::vector<Damage> list_;  // disjoint
  std::uint64_t changes_{0};
};

/// Finds damage while a segment is read in order.
class DamageFinder {
 public:
  /// `after`: reading begins behind this position. `is_contiguous`: nothing has been removed from the
  /// segment.
  DamageFinder(std::uint64_t after, bool is_contiguous) : last_(after), is_contiguous_(is_contiguous) {}

  /// The next intact event. `damaged_bytes`: as the scanner has counted so far.
  [[nodiscard]] std::optional<Damage> on_event(const Record& event, std::uint64_t damaged_bytes);
  /// After the last event. The segment is for positions up to `through`, which has the time `time`;
  /// `is_torn`: something damaged follows the last record.
  [[nodiscard]] std::optional<Damage> at_end(std::uint64_t through, std::int64_t time, bool is_torn);
  /// Reading continues with another scanner, where the last one ended.
  void restart_count() noexcept { damaged_bytes_ = 0; }

 private:
  std::uint64_t last_;
  bool is_contiguous_;
  std::uint64_t damaged_bytes_{0};
};

/// Events of one topic, one after the other, that were destroyed.
struct LostRun {
  std::uint32_t topic{};  ///< its number
  std::uint64_t first{};  ///< offsets
  std::uint64_t last{};
  std::uint64_t after{};     ///< position of the topic's event before them; 0: there is none
  std::uint64_t position{};  ///< of the last of them
  std::int64_t time_after{std::numeric_limits<std::int64_t>::min()};  ///< none of them is earlier
  std::int64_t time{};                                                ///< none of them is later
};

/// Finds out which events the damage has destroyed. Each event says how many its topic had before it, and a
/// topic's last one is known from the checkpoint: reading the whole log once shows what is missing. This is
/// done in steps, and again when more damage is found. Lives on the reader's thread.
class DamageSurvey {
 public:
  explicit DamageSurvey(LogState& state) : state_(state) {}

  /// Whether lost() has everything that is missing because of the damage found so far.
  [[nodiscard]] bool is_complete();
  /// Reads about `bytes` of the log, unless it is complete.
  void step(std::uint64_t bytes);
  /// In order of positions. Only if it is complete.
  [[nodiscard]] const std::vector<LostRun>& lost() const noexcept { return lost_; }
  /// Those of a topic of which the last one has this position. nullptr: there are none, or it is not
  /// complete.
  [[nodiscard]] const LostRun* find(std::uint32_t topic, std::uint64_t position);

 private:
  struct Known {
    std::uint64_t offset{};
    std::uint64_t position{};
    std::int64_t time{std::numeric_limits<std::int64_t>::min()};
  };

  void begin();
  [[nodiscard]] bool next_segment();
  [[nodiscard]] bool read_segment(std::uint64_t& bytes_left);
  void note(const Record& record);
  void lose(const LostRun& lost);
  void add(const std::optional<Damage>& damage);
  void check_tails();
  Known& known(std::uint32_t topic);

  LogState& state_;
  std::vector<LostRun> lost_;
  std::optional<std::uint64_t> surveyed_;  // DamageList::changes() when it was completed

  // While it runs.
  bool is_running_{false};
  std::uint64_t changes_{0};  // DamageList::changes() as far as it is known to this survey
  std::vector<Known> known_;  // by number: the topics' last events so far
  std::shared_ptr<Segment> segment_;
  std::optional<DamageFinder> finder_;
  std::uint64_t next_at_{0};  // where to go on in the segment
  std::uint64_t passed_{0};   // the position up to which the log has been read
  bool tails_checked_{false};
};

}  // namespace backplane::broker::store
