#pragma once
// What is written to many, once.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "fanout/log/ids.hpp"
#include "fanout/log/segment.hpp"

namespace backplane::fanout {

struct LogOptions {
  std::size_t segment_bytes = 256u << 10;
  std::size_t segment_messages = 4096;  ///< a segment of small messages is full before its bytes are
  /// Of all segments that somebody holds. Above it, readers are told to let go of the oldest.
  std::size_t bytes_max = 1u << 30;
  std::size_t spare_segments_max = 64;  ///< kept for the next messages; more are given back to the heap
};

/// An append-only sequence of messages. One thread writes it; any number of readers, known from the start,
/// follow it without a lock: what is published is a number, and a segment goes back to the writer when the
/// last reader has let go of it. Owns the segments; outlives its readers.
class Log {
 public:
  /// The largest message that it takes.
  static constexpr std::size_t message_bytes_max = std::size_t{1} << 31;

  Log(LogOptions options, std::size_t readers);
  ~Log();
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  // The writer's side.

  /// Copies the message, of at least one byte. Readers see it after the next publish(). Allocates only where
  /// no segment is spare, or where the message is larger than a segment.
  void append(std::string_view bytes, const MessageInfo& info);
  void publish() noexcept { published_.store(appended_); }
  /// The number of the next message.
  [[nodiscard]] std::uint64_t appended() const noexcept { return appended_; }
  /// Of segments that somebody holds, as of the last time that one was needed.
  [[nodiscard]] std::size_t bytes_in_use() const noexcept { return bytes_in_use_; }

  // Any thread's.

  /// Messages before this number may be read.
  [[nodiscard]] std::uint64_t published() const noexcept { return published_.load(); }
  /// Readers are to let go of messages before this number: the log holds more than it may.
  [[nodiscard]] std::uint64_t evicted() const noexcept { return evicted_.load(std::memory_order_relaxed); }

 private:
  friend class LogReader;
  struct SegmentInUse {
    std::uint64_t serial;
    Segment* segment;  ///< nullptr: given back already, sooner than older ones
  };

  void roll(std::size_t size);
  std::unique_ptr<Segment> make_segment(std::size_t size);
  void reclaim_returned();
  void reclaim(Segment* segment);
  void evict();
  /// By the last holder, on its thread.
  void return_segment(Segment& segment) noexcept;
  void release(Segment& segment) noexcept;

  LogOptions options_;
  std::size_t readers_;
  std::vector<SegmentInUse> in_use_;  ///< in order
  std::size_t reclaimed_{};           ///< of these
  std::size_t bytes_in_use_{};
  std::vector<std::unique_ptr<Segment>> spare_;
  Segment* first_{};
  Segment* current_{};
  std::uint64_t last_serial_{};
  std::uint64_t appended_{};
  // Written by the writer and read by all; apart from what readers write.
  alignas(64) std::atomic<std::uint64_t> published_{0};
  std::atomic<std::uint64_t> evicted_{0};
  alignas(64) std::atomic<Segment*> returned_{nullptr};
};

/// Where one reader is in a log, and what it holds of it. Lives on the reader's thread; is made before the
/// first message is appended.
class LogReader {
 public:
  /// @param index 0 … readers - 1, each once
  LogReader(Log& log, std::size_t index) : log_(log), index_(index), segment_(log.first_) {}
  LogReader(const LogReader&) = delete;
  LogReader& operator=(const LogReader&) = delete;

  [[nodiscard]] std::uint64_t position() const noexcept { return position_; }

  /// Calls on_run(Segment&, first, last, end) for the messages up to number `end` (at most published()), in
  /// order: as many at a time as lie together and have the same route. Those from `last` to the segment's
  /// `end` come next.
  template <class OnRun>
  void read_until(std::uint64_t end, OnRun&& on_run) {
    while (position_ < end) {
      Segment& segment = *segment_;
      Segment* const next = segment.next_.load(std::memory_order_acquire);
      const std::uint64_t limit = next != nullptr && next->base_ < end ? next->base_ : end;
      if (position_ < limit) {
        const auto last = static_cast<std::uint32_t>(limit - segment.base_);
        for (auto first = static_cast<std::uint32_t>(position_ - segment.base_); first < last;) {
          std::uint32_t run = first + 1;
          while (run < last && segment.route(run) == segment.route(first)) ++run;
          on_run(segment, first, run, last);
          first = run;
        }
        position_ = limit;
      } else {
        segment_ = next;
        Segment::Pin& pin = segment.pins_[index_];
        pin.passed = true;
        if (pin.count == 0) log_.release(segment);
      }
    }
  }

  /// Keeps a segment that read_until() showed until as many calls of unpin().
  void pin(Segment& segment) noexcept { ++segment.pins_[index_].count; }
  void unpin(Segment& segment) noexcept {
    Segment::Pin& pin = segment.pins_[index_];
    if (--pin.count == 0 && pin.passed) log_.release(segment);
  }

 private:
  Log& log_;
  const std::size_t index_;
  Segment* segment_;
  std::uint64_t position_{};
};

}  // namespace backplane::fanout
