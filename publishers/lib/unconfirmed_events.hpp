#pragma once
// The events that the broker has not confirmed: those to be sent, and those that may have to be resent.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace backplane::publishing {

/// The two frames of an event. The views are valid until the event is confirmed.
struct EventFrames {
  std::string_view topic;
  std::string_view event;
};

/// A bounded queue with three positions, confirmed ≤ sent ≤ offered, each the sequence of an event. Events
/// are stored back to back in segments that never move, so the result of peek() stays readable while another
/// thread appends. Not thread-safe by itself: the owner guards every call.
class UnconfirmedEvents {
 public:
  /// @param head the first bytes of every event, see event_encoder.hpp
  /// @param confirmed the sequence before the first event's
  UnconfirmedEvents(std::string_view head, std::size_t bytes_max, std::uint64_t confirmed = 0)
      : head_(head), bytes_max_(bytes_max), offered_(confirmed), sent_(confirmed), confirmed_(confirmed) {}

  /// Size of the next event if it has a tail of this size.
  [[nodiscard]] std::size_t event_bytes(std::size_t tail_bytes) const noexcept;
  /// How much of the limit an event uses.
  [[nodiscard]] static std::size_t footprint(std::size_t topic_bytes, std::size_t event_bytes) noexcept;

  /// Numbers an event and stores it. @returns false, and stores nothing, if the limit would be exceeded.
  [[nodiscard]] bool append(std::string_view topic, std::string_view tail);

  /// Writes the events after `sent` to `out`, in order, as many as fit. @returns how many.
  [[nodiscard]] std::size_t peek(std::span<EventFrames> out) const;
  /// Advances `sent` by `count` events, at most as many as peek() returned.
  void mark_sent(std::size_t count);
  /// Discards the events up to `sequence` (at most `offered`). Advances `sent` if it is lower.
  void confirm(std::uint64_t sequence);
  /// Moves `sent` back to `confirmed`: everything unconfirmed will be sent again.
  void rewind() noexcept;
  /// Replaces the head of every event, stored or new, by one of the same size. No other thread may read
  /// frames meanwhile.
  void change_head(std::string_view head);

  [[nodiscard]] std::uint64_t offered() const noexcept { return offered_; }
  [[nodiscard]] std::uint64_t sent() const noexcept { return sent_; }
  [[nodiscard]] std::uint64_t confirmed() const noexcept { return confirmed_; }

 private:
  struct Segment {
    std::unique_ptr<char[]> data;
    std::size_t capacity{};
    std::size_t used{};
    std::uint64_t last{};  ///< sequence of its last event
  };
  /// The start of a record. The end of a segment is the same place as the start of the next one.
  struct Cursor {
    std::size_t segment{};
    std::size_t offset{};
  };

  char* reserve(std::size_t record_bytes);
  void drop_front_segment();
  void skip_to_record(Cursor& cursor) const noexcept;

  std::string head_;
  std::size_t bytes_max_;
  std::size_t bytes_{};
  std::deque<Segment> segments_;
  Segment spare_;
  Cursor first_unconfirmed_;
  Cursor first_unsent_;
  std::uint64_t offered_{};
  std::uint64_t sent_{};
  std::uint64_t confirmed_{};
};

}  // namespace backplane::publishing
