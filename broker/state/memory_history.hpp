#pragma once
// The history store in memory.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "broker/state/history_store.hpp"
#include "broker/state/retention.hpp"

namespace backplane::broker {

class KeptEvents;
struct HistoryWork;
struct KeptTopic;

/// Values and history in this process's memory. Nothing outlives the process, and open() says so. Lives on
/// the loop thread. Owns one block per event; an event that is both in history and its topic's value is
/// stored once.
///
/// What is removed, and when
/// - A topic's own limits (those of the first rule that matches, chosen when the topic is first seen) drop
///   its oldest events. `history_bytes` counts events as published.
/// - The total limit, `bytes_max`, counts blocks with all their overhead (Figures::bytes). It evicts the
///   oldest events of all history first, then the values that were written longest ago. Each topic takes
///   about 100 bytes and its name in addition, as long as the process lives, because the store must know what
///   the topic has lost. If the oldest events are also values, dropping them frees nothing. The work per
///   append is bounded, and until it is done the limit may be exceeded, by no more than 16 bytes per stored
///   event.
/// - Ages and ttls refer to the latest time of an append or expire(): no read returns anything older. The
///   clock may step: a step back of less than a second is waited out; at a larger one, earlier times are
///   moved back by as much, so an event never looks younger than it is. A read since a time uses the current
///   wall clock and starts at the first event of that time; all later ones belong to it.
///
/// When a read is `gone`
/// A topic loses its oldest events first, so the last one lost is all that must be known. A read ends in
/// `gone` if and only if a matching topic has lost an event after the requested start. For a pattern, this is
/// found by checking all topics (65,536 per slice; with more topics, the first slices say `more` and have no
/// events). Later slices of the same read check only what was lost since. With `until_position`, a topic that
/// has also lost events after it counts as having lost some before it, because the difference is no longer
/// known. To continue, start at `first_available`: after_position of one less is not gone.
///
/// Reads
/// Cursors contain all that a slice needs, and belong to this store and to the request. Appends, evictions
/// and expiry may happen in between. A slice examines at most 16,384 events, and says `more` (perhaps without
/// events) if it did not reach the end.
class MemoryHistory final : public HistoryStore {
 public:
  explicit MemoryHistory(HistoryLimits limits);
  /// With other limits of the work per call (kept_events.hpp).
  MemoryHistory(HistoryLimits limits, const HistoryWork& work);
  ~MemoryHistory() override;
  MemoryHistory(const MemoryHistory&) = delete;
  MemoryHistory& operator=(const MemoryHistory&) = delete;

  Result<Opened> open(std::uint64_t new_stream) override { return Opened{.stream = new_stream}; }
  Result<void> begin_after(std::span<const Tail> tails, std::uint64_t position) override;
  /// Always accepts. Positions must ascend, and each event must end in its stamp.
  [[nodiscard]] Ticket append(std::span<const HistoryAppend> batch) override;
  [[nodiscard]] int progress_fd() const override { return -1; }
  [[nodiscard]] Progress progress() const override { return {batches_, batches_}; }
  [[nodiscard]] Guarantee guarantee() const override { return Guarantee::none; }
  [[nodiscard]] Condition condition() const override { return {}; }
  void remember_types(std::string_view) override {}

  [[nodiscard]] std::uint64_t start_read(const ReadRequest& request) override;
  /// Reads the slice of the oldest start_read() from the current state.
  [[nodiscard]] std::optional<ReadSlice> next_slice() override;

  /// Visits every topic once: about 0.1 µs each.
  void set_limits(HistoryLimits limits) override;
  void expire(std::int64_t now_ns) override;

  [[nodiscard]] Figures figures() const override;
  [[nodiscard]] TopicFigures figures(std::string_view topic) const override;

  /// Memory used beside the events themselves.
  struct Overhead {
    std::size_t topics_bytes{};     ///< topics and their indexes
    std::size_t slack_bytes{};      ///< free blocks
    std::uint64_t system_blocks{};  ///< blocks ever allocated from the system
  };
  [[nodiscard]] Overhead overhead() const;

 private:
  struct PendingRead {
    std::uint64_t ticket;
    ReadRequest request;
  };

  std::unique_ptr<KeptEvents> events_;
  std::vector<KeptTopic*> topics_;  // of the batch being appended
  std::deque<PendingRead> pending_reads_;
  std::uint64_t last_ticket_{0};
  std::uint64_t batches_{0};
  std::uint32_t incarnation_;  // distinguishes this store's cursors from those of earlier incarnations
};

}  // namespace backplane::broker
