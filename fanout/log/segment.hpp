#pragma once
// A piece of the log: bytes of many messages, one behind the other.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "fanout/log/ids.hpp"

namespace backplane::fanout {

/// Messages in the order in which they were appended; each lies here as a whole. One thread writes; any
/// number of readers look at those messages that the log has published, which never change while anybody
/// holds the segment. Owns its memory, which serves again when nobody holds it any more.
class Segment {
 public:
  Segment(std::size_t bytes_max, std::size_t messages_max, std::size_t readers);
  Segment(const Segment&) = delete;
  Segment& operator=(const Segment&) = delete;

  // For readers: of published messages, by their index in this segment.

  /// The log's number of message 0.
  [[nodiscard]] std::uint64_t base() const noexcept { return base_; }
  [[nodiscard]] TopicId topic(std::uint32_t index) const noexcept { return topics_[index]; }
  [[nodiscard]] RouteId route(std::uint32_t index) const noexcept { return routes_[index]; }
  [[nodiscard]] std::uint64_t offset(std::uint32_t index) const noexcept { return offsets_[index]; }
  [[nodiscard]] StreamId stream(std::uint32_t index) const noexcept { return streams_[index]; }
  [[nodiscard]] std::uint64_t position(std::uint32_t index) const noexcept { return positions_[index]; }
  /// Of the messages [first, last).
  [[nodiscard]] std::size_t size(std::uint32_t first, std::uint32_t last) const noexcept {
    return begins_[last] - begins_[first];
  }
  [[nodiscard]] std::string_view bytes(std::uint32_t first, std::uint32_t last) const noexcept {
    return {bytes_.get() + begins_[first], size(first, last)};
  }
  /// How many of the messages [first, last) end within the first `count` bytes of them.
  [[nodiscard]] std::uint32_t whole_messages(std::uint32_t first, std::uint32_t last,
                                             std::size_t count) const noexcept;

 private:
  friend class Log;
  friend class LogReader;

  /// What one reader still wants of it; touched by that reader's thread alone.
  struct alignas(64) Pin {
    std::uint32_t count{};  ///< pieces of it that wait to be written
    bool passed{};          ///< the reader has seen all of it
  };

  // For the log's writer.
  void open(std::uint64_t serial, std::uint64_t base);
  [[nodiscard]] bool fits(std::size_t size) const noexcept {
    return count_ < topics_.size() && size <= bytes_max_ - begins_[count_];
  }
  void append(std::string_view bytes, const MessageInfo& info) noexcept;

  std::size_t bytes_max_;
  std::unique_ptr<char[]> bytes_;
  std::vector<std::uint32_t> begins_;  ///< one more than there are messages
  std::vector<RouteId> routes_;
  std::vector<TopicId> topics_;
  std::vector<std::uint64_t> offsets_;
  std::vector<StreamId> streams_;
  std::vector<std::uint64_t> positions_;
  std::vector<Pin> pins_;  ///< by reader
  std::uint64_t base_{};
  std::uint64_t serial_{};  ///< which of all segments this is
  std::uint32_t count_{};   ///< the writer's; readers go by what is published
  std::atomic<Segment*> next_{nullptr};
  std::atomic<std::size_t> users_{0};  ///< the writer, and each reader until it wants nothing more of it
  Segment* next_returned_{};
};

}  // namespace backplane::fanout
