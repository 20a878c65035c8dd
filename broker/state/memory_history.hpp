#pragma once
// The history that is kept in memory.

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

/// Values and history in this process's memory: nothing outlives it, and open() says so. Lives on the loop
/// thread. Owns one block an event; an event that is in history and its topic's value too is held once.
///
/// What is given up, and when
/// - A topic's own bounds (the first rule that matches, resolved when the topic is first seen) give up its
///   oldest events. `history_bytes` counts events as published.
/// - The bound of all, `bytes_max`, counts blocks with everything belonging to them (Figures::bytes). It
/// gives
///   up the oldest events of all history first, then the values that were written longest ago. Per topic
///   about 100 bytes and its name come on top, for as long as the process lives: what was given up must be
///   known. Where the oldest events are values as well, giving them up frees nothing; the work an append may
///   do is bounded, and until it is done the bound may be exceeded, by no more than 16 bytes an event held.
/// - Ages and ttls are true to the latest time that an append or expire() brought: no read returns what is
///   older. The clock may step: back by less than a second is waited out, by more moves what came before
///   back by as much, so an event never looks younger than it is. A read since a time means the clock as it
///   goes now and starts at the first event of that time; all that follow belong to it.
///
/// Gone, exactly
/// A topic loses its oldest events only, so the last one lost says all. A read is answered `gone` when a
/// topic that matches has lost an event after the start of the read, and not otherwise: a pattern's answer
/// comes from looking at all topics (65,536 a slice; with more of them the first slices say `more` and have
/// no events), later slices of the same read look only at what was lost since. With `until_position`, a topic
/// that has also lost events after it counts as having lost some before it: that can no longer be told.
/// `first_available` is where to start again: after_position of one less is not gone.
///
/// Reads
/// Cursors carry all that a slice needs and are bound to this store and to the request; appends, evictions
/// and expiry may come in between. A slice looks at 16,384 events at most, and says `more` (perhaps without
/// events) where that didn't reach the end.
class MemoryHistory final : public HistoryStore {
 public:
  explicit MemoryHistory(HistoryLimits limits);
  /// With other bounds of the work done in one go (kept_events.hpp).
  MemoryHistory(HistoryLimits limits, const HistoryWork& work);
  ~MemoryHistory() override;
  MemoryHistory(const MemoryHistory&) = delete;
  MemoryHistory& operator=(const MemoryHistory&) = delete;

  Opened open() override { return {}; }
  /// Always accepts. Positions must ascend, and each event end in its stamp.
  [[nodiscard]] Ticket append(std::span<const HistoryAppend> batch) override;
  [[nodiscard]] int progress_fd() const override { return -1; }
  [[nodiscard]] Progress progress() const override { return {batches_, batches_}; }
  [[nodiscard]] Guarantee guarantee() const override { return Guarantee::none; }

  [[nodiscard]] std::uint64_t start_read(const ReadRequest& request) override;
  /// Reads for the oldest start_read() at once, as things are now.
  [[nodiscard]] std::optional<ReadSlice> next_slice() override;

  /// Looks at every topic once: some 0.1 µs each.
  void set_limits(HistoryLimits limits) override;
  void expire(std::int64_t now_ns) override;

  [[nodiscard]] Figures figures() const override;
  [[nodiscard]] TopicFigures figures(std::string_view topic) const override;

  /// What it takes beside the events themselves.
  struct Overhead {
    std::size_t topics_bytes{};     ///< what is known of topics
    std::size_t slack_bytes{};      ///< blocks that wait for the next event
    std::uint64_t system_blocks{};  ///< blocks taken from the system, ever
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
  std::uint32_t incarnation_;  // tells this store's cursors from an earlier incarnation's
};

}  // namespace backplane::broker
