#pragma once
// The log: messages that many clients receive are written to it once.

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
  std::size_t segment_messages = 4096;  ///< in a segment, even if there is room for more bytes
  /// Of all segments in use. Above it, readers must unpin the oldest ones; see evicted().
  std::size_t bytes_max = 1u << 30;
  std::size_t spare_segments_max = 64;  ///< unused segments that are kept; others are freed
};

/// An append-only sequence of messages, numbered 0, 1, 2, …. One thread writes it. A fixed number of readers
/// follow it, each on one thread, without locks: publishing stores a number, and a segment returns to the
/// writer when its last reader is done with it. Owns the segments; outlives its readers.
class Log {
 public:
  /// The size of the largest message that append() accepts.
  static constexpr std::size_t message_bytes_max = std::size_t{1} << 31;

  Log(LogOptions options, std::size_t readers);
  ~Log();
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  // The writer's thread.

  /// Appends a copy of the message, which has at least one byte. Readers see it after the next publish().
  /// Allocates only if there is no spare segment, or if the message is larger than a segment.
  void append(std::string_view bytes, const MessageInfo& info);
  void publish() noexcept { published_.store(appended_); }
  /// The number of the next message.
  [[nodiscard]] std::uint64_t appended() const noexcept { return appended_; }
  /// Bytes of all segments in use, as of the last time that a new segment was needed.
  [[nodiscard]] std::size_t bytes_in_use() const noexcept { return bytes_in_use_; }

  // Any thread.

  /// Messages with a lower number may be read.
  [[nodiscard]] std::uint64_t published() const noexcept { return published_.load(); }
  /// Readers must unpin the segments of messages with a lower number: more than LogOptions::bytes_max are in
  /// use.
  [[nodiscard]] std::uint64_t evicted() const noexcept { return evicted_.load(std::memory_order_relaxed); }

 private:
  friend class LogReader;
  struct SegmentInUse {
    std::uint64_t serial;
    Segment* segment;  ///< nullptr: reclaimed already, before older ones
  };

  void roll(std::size_t size);
  std::unique_ptr<Segment> make_segment(std::size_t size);
  void reclaim_returned();
  void reclaim(Segment* segment);
  void evict();
  /// Called by the segment's last user, on its thread.
  void return_segment(Segment& segment) noexcept;
  void release(Segment& segment) noexcept;

  LogOptions options_;
  std::size_t readers_;
  std::vector<SegmentInUse> in_use_;  ///< in the order of their serials
  std::size_t reclaimed_{};           ///< of these
  std::size_t bytes_in_use_{};
  std::vector<std::unique_ptr<Segment>> spare_;
  Segment* first_{};
  Segment* current_{};
  std::uint64_t last_serial_{};
  std::uint64_t appended_{};
  // The writer writes these and all threads read them. They share no cache line with what readers write.
  alignas(64) std::atomic<std::uint64_t> published_{0};
  std::atomic<std::uint64_t> evicted_{0};
  alignas(64) std::atomic<Segment*> returned_{nullptr};
};

/// The position of one reader in a log, and its pins. Lives on the reader's thread; is created before the
/// first message is appended.
class LogReader {
 public:
  /// @param index 0 … readers - 1, each once
  LogReader(Log& log, std::size_t index) : log_(log), index_(index), segment_(log.first_) {}
  LogReader(const LogReader&) = delete;
  LogReader& operator=(const LogReader&) = delete;

  [[nodiscard]] std::uint64_t position() const noexcept { return position_; }

  /// Reads messages with a number below `end`, which is at most published(). Calls
  /// on_run(Segment&, first, last, segment_end) for each run of adjacent messages with the same route, in
  /// order. Messages [last, segment_end) of the segment come next.
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

  /// Keeps a segment that on_run() received, until unpin() has been called as often as pin().
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
