#pragma once
// Reads one slice from the log.

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "broker/state/history_store.hpp"
#include "broker/store/damage.hpp"
#include "broker/store/log_state.hpp"
#include "broker/store/record_scanner.hpp"

namespace backplane::broker::store {

/// A slice, and what its views point into.
struct LogSlice {
  ReadSlice slice;
  std::vector<Chunk> chunks;
};

/// How far a read of the log has come. It stays valid whatever the store does in between, even a restart.
struct LogCursor {
  std::uint64_t position{};                                      ///< everything up to it has been returned
  std::int64_t since{std::numeric_limits<std::int64_t>::min()};  ///< on the store's clock
  std::uint64_t checked{};       ///< the segment (its serial) whose removals have been checked
  bool is_locating{};            ///< something was lost; now looking for the last event that was lost
  std::uint64_t locate_from{};   ///< segments from this position on have been searched
  std::uint64_t waits{};         ///< slices that have waited for the survey
  std::uint64_t lost_through{};  ///< of what is lost beyond the end of the read, this has been reported
};

/// Limits of the work per slice.
struct ReadWork {
  std::uint64_t scan_bytes_max = 8u << 20;  ///< read from segments
  std::size_t walk_events_max = 4096;       ///< found one by one, from a topic's last event back
  std::size_t walk_topics_max = 16;
};

/// Reads one slice of one read; does not change the store. Lives on the reader's thread. It locks the state
/// for short times, and not while it reads from files.
///
/// A pattern that few topics match is read by walking from their last events back, because each event says
/// where its topic's previous one is. Other patterns, and long ways back, are read by scanning the log from
/// the start of the read. Both find an event that is lost, because it has been removed or is above a limit,
/// when they come to it: the slice ends before it, and the next one says `gone`, unless the read is partial.
/// Events that damage has destroyed are reported in their place. Which ones these are is known once the
/// damage has been surveyed: a read that meets damage does that first, in slices without events.
class LogReader {
 public:
  LogReader(LogState& state, DamageSurvey& survey, const ReadRequest& request, const ReadWork& work);
  [[nodiscard]] LogSlice read();

 private:
  struct Place {
    std::shared_ptr<Segment> segment;
    std::uint64_t serial{};
    std::uint64_t from{};  // where to begin to read
    std::uint64_t to{};
    std::uint64_t after{};  // position before `from`
    std::uint64_t through{};
    std::int64_t last_time{};
    std::uint64_t removals_end{};
    bool is_last{};
  };
  struct Walked {
    std::uint64_t position;
    std::shared_ptr<File> file;
    std::uint64_t at;
    std::size_t bytes;
    const LostRun* lost;  // instead of an event
  };
  enum class Walk : std::uint8_t { done, too_long, needs_survey };

  LogSlice read_retained();
  void read_history();
  [[nodiscard]] bool begin();

  [[nodiscard]] std::optional<std::vector<StoredTopic*>> few_topics();
  Walk walk(const std::vector<StoredTopic*>& topics);
  Walk walk_topic(const StoredTopic& topic, std::vector<Walked>& found);
  void scan();
  // @returns false if the slice is complete.
  [[nodiscard]] bool scan_segment(const Place& place);
  [[nodiscard]] bool check_removals(const Place& place);
  void locate();
  [[nodiscard]] bool needs_survey();
  void survey();
  [[nodiscard]] bool note_damage(const Damage& damage);

  [[nodiscard]] std::optional<Place> place_after(std::uint64_t position, std::int64_t since);
  [[nodiscard]] bool wants(const Record& event) const;
  [[nodiscard]] bool begins_before(const LostRun& lost) const;
  [[nodiscard]] bool fits(std::size_t bytes);
  [[nodiscard]] bool fits(const Record& event) { return fits(event.body.size() + event.name.size()); }
  [[nodiscard]] bool is_empty() const { return out_.slice.events.empty() && out_.slice.destroyed.empty(); }
  void give(const Record& event, const Chunk& chunk);
  // @returns false if the slice is full.
  [[nodiscard]] bool give(const LostRun& lost);
  [[nodiscard]] bool give_lost_through(std::uint64_t position);
  [[nodiscard]] bool give_lost_beyond(const LostRun& lost);
  void end_scan();
  void lose(std::uint64_t position, std::uint64_t offset);
  void end_lost();
  void end_complete();
  void end_more();

  LogState& state_;
  DamageSurvey& survey_;
  const ReadRequest& request_;
  const ReadWork work_;
  const std::uint32_t hash_;
  const std::uint64_t until_;
  std::uint32_t incarnation_{0};
  std::uint64_t last_position_{0};  // of the log, when the slice was begun
  LogCursor at_;
  LogSlice out_;
  std::size_t bytes_{0};  // of the events in the slice
  std::uint64_t scanned_{0};
  std::uint64_t lost_position_{0};
  std::uint64_t lost_offset_{0};
};

}  // namespace backplane::broker::store
