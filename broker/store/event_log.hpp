#pragma once
// The log on disk: writing, syncing, checkpoints, opening.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "broker/state/history_store.hpp"
#include "broker/store/checkpoint.hpp"
#include "broker/store/files.hpp"
#include "broker/store/log_state.hpp"

namespace backplane::broker::store {

struct LogOptions {
  std::string backplane;
  bool syncs_always{};        ///< nothing that was not synced has been seen by anybody
  bool is_numbered_by_log{};  ///< as in FileHistoryOptions
  bool has_users{};           ///< events may have users
  std::size_t segment_bytes{};
};

/// Events and types that wait to be written, in order.
class Batch {
 public:
  /// `topic`: the event's, if it is known.
  void add(const HistoryAppend& item, StoredTopic* topic);
  void add_types(std::string_view descriptor_set);
  [[nodiscard]] bool empty() const noexcept { return bytes_.empty(); }
  [[nodiscard]] std::size_t size() const noexcept { return bytes_.size(); }
  void clear() noexcept { bytes_.clear(); }
  /// Avoids copying later; memory is used only as far as it is filled.
  void reserve(std::size_t bytes) { bytes_.reserve(bytes); }
  /// The record at `at`, which is advanced to the next. @returns false at the end.
  [[nodiscard]] bool next(std::size_t& at, Record& record, StoredTopic*& topic) const;
  /// Fetches the topic of the record at `at` into the caches, and advances `at`.
  void prefetch(std::size_t& at) const;

 private:
  std::string bytes_;
};

/// Segments of records in a directory. open() is called first, alone. Then one thread calls write() and
/// close(), one sync(), and one maintain(); they may be the same one. Owns no thread.
class EventLog {
 public:
  EventLog(Files& files, LogState& state, LogOptions options);
  ~EventLog();
  EventLog(const EventLog&) = delete;
  EventLog& operator=(const EventLog&) = delete;

  /// Recovers what the directory has, and continues it.
  [[nodiscard]] Result<HistoryStore::Opened> open(std::uint64_t new_stream);

  /// As HistoryStore::begin_after(). Alone, before the first write().
  [[nodiscard]] Result<void> begin_after(std::span<const HistoryStore::Tail> tails, std::uint64_t position);

  /// Instead of open(): reads what an earlier incarnation has left, which is never changed. Nothing else may
  /// be called afterwards.
  [[nodiscard]] Result<void> open_earlier(std::uint64_t stream);

  /// Writes `batch` from `done` on, and advances `done`. After an error `exhausted` (no room), it can be
  /// called again with the same arguments, and continues. Other errors are final.
  [[nodiscard]] Result<void> write(const Batch& batch, std::size_t& done);

  /// Everything that write() had written when this was called survives a power loss when it returns. An error
  /// is final.
  [[nodiscard]] Result<void> sync();

  /// Writes indexes and a checkpoint if they are due, enforces the total limit and cleans at most one run of
  /// segments. @returns whether there may be more to do. Errors are not final: it tries again next time.
  [[nodiscard]] Result<bool> maintain();

  /// Syncs, writes a checkpoint and marks the store as clean. Nothing may be written afterwards.
  [[nodiscard]] Result<void> close();

  /// The error of the first sync() that failed: one is enough, because what it was to sync may be lost.
  [[nodiscard]] Result<void> sync_error();
  [[nodiscard]] std::uint64_t written_bytes();
  [[nodiscard]] std::uint64_t cleaned_bytes() const noexcept { return cleaned_bytes_; }

 private:
  struct Update {
    StoredTopic* topic;
    std::uint64_t position;
    std::uint64_t offset;
    std::uint64_t bytes;
    std::int64_t time;
    std::uint32_t at;  // within out_
    std::uint32_t record_bytes;
    bool has_value;
    std::optional<StoredSessions::Use> session{};  // points into the batch
  };
  struct Synced {
    std::uint64_t serial{};
    std::uint64_t bytes{};
  };

  struct CarriedValue {
    std::string topic;
    std::string event;  // as published in the earlier incarnation
    std::uint64_t position{};
  };
  struct SegmentRecovery {
    std::uint64_t after{};  // the checkpoint's position
    bool may_be_torn{};     // its end may be a write that was interrupted
    bool cut_unsynced{};
  };

  // Opening.
  [[nodiscard]] Result<std::optional<StoreMark>> read_mark();
  [[nodiscard]] Result<void> write_mark(std::uint64_t stream, bool is_clean);
  [[nodiscard]] Result<void> begin_stream(std::uint64_t stream, std::vector<std::uint64_t> earlier);
  [[nodiscard]] Result<std::vector<CarriedValue>> current_values();
  [[nodiscard]] Result<void> carry_over(std::vector<CarriedValue> values);
  [[nodiscard]] Result<std::vector<std::string>> list(std::uint64_t stream);
  [[nodiscard]] Result<Checkpoint> load_checkpoint(const std::vector<std::string>& names,
                                                   std::uint64_t stream);
  [[nodiscard]] Result<std::vector<std::shared_ptr<Segment>>> open_segments(
      const std::vector<std::string>& names, std::uint64_t stream, bool machine_crashed);
  /// Whether all numbers that were used are known. If not, the stream cannot be continued.
  enum class Numbering : std::uint8_t { known, unknown };
  [[nodiscard]] StoreMark mark_of(std::uint64_t stream, bool is_clean);
  [[nodiscard]] Result<void> check_versions(std::uint64_t stream);
  [[nodiscard]] Result<Numbering> numbering(const StoreMark& mark, const Checkpoint& checkpoint,
                                            const std::vector<std::string>& names, bool machine_crashed);
  [[nodiscard]] Result<Numbering> recover(const StoreMark& mark, bool machine_crashed, bool continues);
  [[nodiscard]] Result<void> recover_segment(Segment& segment, const SegmentRecovery& how);
  void note_missing_segments();
  void restore(const Checkpoint& checkpoint);
  void apply(const Record& record, std::uint64_t at, std::uint64_t after);
  [[nodiscard]] HistoryStore::Opened opened(bool continues);

  // Writing.
  /// Completes a record for writing. @returns whether a session has a user from this event on
  bool stage(const Record& record, StoredTopic* topic);
  [[nodiscard]] Result<void> flush();
  [[nodiscard]] Result<void> roll();
  [[nodiscard]] Result<void> start_segment(std::uint64_t first);

  // Maintenance.
  [[nodiscard]] Result<void> write_indexes();
  [[nodiscard]] Result<void> write_checkpoint();
  void enforce_total();
  [[nodiscard]] std::vector<std::shared_ptr<Segment>> choose_run();
  [[nodiscard]] std::uint64_t estimate_live(const Segment& segment);
  [[nodiscard]] Result<void> clean(const std::vector<std::shared_ptr<Segment>>& run);
  void measure_other_files();

  Files& files_;
  LogState& state_;
  const LogOptions options_;

  // Of opening.
  std::uint16_t version_{format_version};  // of the file `store`
  bool is_newest_checkpoint_{false};       // the one that was read
  bool is_end_damaged_{false};
  std::uint64_t applied_through_{0};
  std::uint64_t lost_events_{0};       // after the checkpoint
  std::uint64_t explained_events_{0};  // of these, those whose topics have later events

  // The writer's.
  std::shared_ptr<Segment> active_;
  std::uint64_t active_bytes_{0};  // of the active segment
  std::uint64_t next_position_{1};
  std::uint64_t marked_bytes_{0};  // of the last `synced` record in the active segment
  std::string out_;
  std::vector<Update> updates_;
  std::vector<std::string> staged_types_;
  std::int64_t written_shift_{0};

  Mutex sync_mutex_;  // during a whole sync(): a second one returns when the first is done
  std::vector<std::shared_ptr<File>> unsynced_ GUARDED_BY(state_.mutex);
  bool names_unsynced_ GUARDED_BY(state_.mutex){false};
  Synced synced_ GUARDED_BY(state_.mutex);
  Result<void> sync_error_ GUARDED_BY(state_.mutex);

  // The maintenance's.
  struct Estimate {
    std::uint64_t serial{};
    std::uint64_t live_bytes{};
    std::uint64_t position{};  // when it was made
    std::uint64_t floor{};
    std::int64_t time{};
  };
  std::vector<Estimate> estimates_;
  std::uint64_t checkpoint_position_{0};  // of the newest
  std::uint64_t checkpoint_bytes_{0};
  std::uint64_t bytes_at_checkpoint_{0};
  std::uint64_t written_bytes_ GUARDED_BY(state_.mutex){0};
  std::atomic<std::uint64_t> cleaned_bytes_{0};
};

/// The names of a store's files. It leaves others alone.
[[nodiscard]] bool is_name_of_data(std::string_view name);
[[nodiscard]] std::string segment_name(std::uint64_t stream, std::uint64_t first);
inline constexpr std::string_view log_suffix = ".log";
inline constexpr std::string_view index_suffix = ".idx";
inline constexpr std::string_view checkpoint_suffix = ".checkpoint";
inline constexpr std::string_view temporary_suffix = ".tmp";
inline constexpr std::string_view mark_name = "store";

}  // namespace backplane::broker::store
