#pragma once
// A piece of the log: the bytes of many messages, one after the other.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "fanout/log/ids.hpp"

namespace backplane::fanout {

/// Whole messages, in the order in which they were appended. The log's writer appends on its thread. Readers
/// see those that the log has published, which do not change as long as a reader pins the segment. Owns its
/// memory, which is reused once the segment has no user.
class Segment {
 public:
  Segment(std::size_t bytes_max, std::size_t messages_max, std::size_t readers);
  Segment(const Segment&) = delete;
  Segment& operator=(const Segment&) = delete;

  // For readers: published messages, by their index in this segment.

  /// The number of message 0 in the log.
  [[nodiscard]] std::uint64_t base() const noexcept { return base_; }
  [[nodiscard]] TopicId topic(std::uint32_t index) const noexcept { return topics_[index]; }
  [[nodiscard]] RouteId route(std::uint32_t index) const noexcept { return routes_[index]; }
  [[nodiscard]] std::uint64_t offset(std::uint32_t index) const noexcept { return offsets_[index]; }
  [[nodiscard]] StreamId stream(std::uint32_t index) const noexcept { return streams_[index]; }
  [[nodiscard]] std::uint64_t position(std::uint32_t index) const noexcept { return positions_[index]; }
  /// Bytes of messages [first, last).
  [[nodiscard]] std::size_t size(std::uint32_t first, std::uint32_t last) const noexcept {
    return begins_[last] - begins_[first];
  }
  [[nodiscard]] std::string_view bytes(std::uint32_t first, std::uint32_t last) const noexcept {
    return {bytes_.get() + begins_[first], size(first, last)};
  }
  /// How many of messages [first, last) lie completely within the first `count` of their bytes.
  [[nodiscard]] std::uint32_t whole_messages(std::uint32_t first, std::uint32_t last,
                                             std::size_t count) const noexcept;

 private:
  friend class Log;
  friend class LogReader;

  /// What one reader still needs of the segment. Only that reader's thread uses it.
  struct alignas(64) Pin {
    std::uint32_t count{};  ///< calls of pin() without their unpin()
    bool passed{};          ///< the reader has read all of the segment
  };

  // The log's writer.
  void open(std::uint64_t serial, std::uint64_t base);
  [[nodiscard]] bool fits(std::size_t size) const noexcept {
    return count_ < topics_.size() && size <= bytes_max_ - begins_[count_];
  }
  void append(std::string_view bytes, const MessageInfo& info) noexcept;

  std::size_t bytes_max_;
  std::unique_ptr<char[]> bytes_;
  std::vector<std::uint32_t> begins_;  ///< of each message, and the end of the last
  std::vector<RouteId> routes_;
  std::vector<TopicId> topics_;
  std::vector<std::uint64_t> offsets_;
  std::vector<StreamId> streams_;
  std::vector<std::uint64_t> positions_;
  std::vector<Pin> pins_;  ///< by reader
  std::uint64_t base_{};
  std::uint64_t serial_{};  ///< 1, 2, 3, … in the order in which segments are opened
  std::uint32_t count_{};   ///< for the writer; readers go by Log::published()
  std::atomic<Segment*> next_{nullptr};
  std::atomic<std::size_t> users_{0};  ///< the writer, and each reader until it is done with the segment
  Segment* next_returned_{};
};

}  // namespace backplane::fanout
