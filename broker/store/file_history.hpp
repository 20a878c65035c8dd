#pragma once
// The history store on disk.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "broker/state/history_store.hpp"
#include "broker/state/retention.hpp"
#include "broker/store/files.hpp"

namespace backplane::broker {

/// When events are synced: what survives a power loss.
enum class StoreSync : std::uint8_t {
  always,    ///< everything that was published or confirmed to its publisher
  interval,  ///< everything but the last interval
  off,       ///< whatever the kernel has written by itself
};

struct FileHistoryOptions {
  std::string path;       ///< the directory: absolute. Created if it is missing; its parent must exist.
  std::string backplane;  ///< the name of the backplane; open() refuses a store of another one
  StoreSync sync{StoreSync::interval};
  std::chrono::milliseconds sync_interval{1000};
  /// `bytes_max` limits the size of all files in the directory. A segment, and each topic's last event, may
  /// exceed it.
  HistoryLimits limits;
  std::size_t sessions_max{65'536};
  /// A log that several brokers share has the stream and all numbers: what a crash of the machine takes is
  /// read from there again, and the stream goes on. open() refuses a store of another stream.
  bool is_numbered_by_log{};
  bool has_users{};                        ///< events may have users: earlier versions cannot open it then
  std::size_t segment_bytes{64u << 20};    ///< 1 GiB at most
  std::size_t queue_bytes_max{32u << 20};  ///< appended and not yet written; above it, append() is busy
  std::size_t scan_bytes_max{8u << 20};    ///< examined per slice of a read
  std::size_t walk_events_max{4096};       ///< searched one by one per slice, for patterns of few topics
  /// false: no threads; everything happens within the calls, and may block. For tests.
  bool threads{true};
};

/// Values and history in a directory. They outlive the process: open() continues the stream, unless the
/// machine went down without a sync of everything that readers may have seen (see StoreSync).
///
/// Lives on the loop thread, like every HistoryStore. append() copies events into a queue. Four threads of
/// its own do the rest: one writes, one syncs, one reads, and one writes indexes and checkpoints and cleans.
/// They share LogState, whose mutex nobody locks during I/O; the calls of the loop thread wait for nothing
/// else. Owns the directory: its lock ends with the object.
///
/// Differences from MemoryHistory
/// - A read that starts in history and later comes to lost events says `gone` there; the slices before
///   it have events.
/// - A topic's last event stays on disk whatever its age, because it proves the numbering. Values are never
///   evicted. They end by their ttl, or with a new event.
/// - The total limit removes whole segments' worth of history, the oldest first, some time later.
/// - After set_limits() with larger limits, what is still on disk is in history again.
/// - Figures: `events` counts what is on disk, including what the limits exclude and the cleaner has not
///   removed yet; expired_events and evicted_events count what it has removed. `values` includes those that
///   have reached their ttl, and `expired_values` stays 0. TopicFigures::history_events disregards limits of
///   bytes and age, except of the last event.
class FileHistory final : public HistoryStore {
 public:
  explicit FileHistory(const FileHistoryOptions& options);
  FileHistory(FileHistoryOptions options, std::unique_ptr<store::Files> files);
  /// Writes what is queued, syncs, and marks the store as closed. Blocks as long as that takes.
  ~FileHistory() override;
  FileHistory(const FileHistory&) = delete;
  FileHistory& operator=(const FileHistory&) = delete;

  [[nodiscard]] Result<Opened> open(std::uint64_t new_stream) override;
  Result<void> begin_after(std::span<const Tail> tails, std::uint64_t position) override;
  [[nodiscard]] Ticket append(std::span<const HistoryAppend> batch) override;
  [[nodiscard]] int progress_fd() const override;
  /// With StoreSync::always, `written` is what is durable: a subscriber must not see an event whose number
  /// could be used again after a power loss. Otherwise `durable` is what is written.
  [[nodiscard]] Progress progress() const override;
  [[nodiscard]] Guarantee guarantee() const override;
  [[nodiscard]] Condition condition() const override;
  void remember_types(std::string_view descriptor_set) override;
  [[nodiscard]] bool has_stream(std::uint64_t stream) const override;
  [[nodiscard]] std::uint64_t start_read(const ReadRequest& request) override;
  /// The views of a slice stay valid until the next call.
  [[nodiscard]] std::optional<ReadSlice> next_slice() override;
  void set_limits(HistoryLimits limits) override;
  void expire(std::int64_t now_ns) override;
  [[nodiscard]] Figures figures() const override;
  [[nodiscard]] TopicFigures figures(std::string_view topic) const override;

  /// What Figures does not have.
  struct StoreFigures {
    std::uint64_t topics_bytes{};  ///< memory of topics
    std::uint64_t index_bytes{};   ///< memory of the segments' indexes
  };
  [[nodiscard]] StoreFigures store_figures() const;
  /// One pass of indexes, checkpoint and cleaner. Without threads, expire() does it, too.
  /// @returns whether a run of segments was cleaned.
  bool maintain();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace backplane::broker
