#pragma once
// The events that a broker has not confirmed: what is still to be sent, and what may have to be sent again.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string_view>

namespace backplane::publishing {

/// One event as it goes out. The views hold until the event is confirmed.
struct EventFrames {
  std::string_view topic;
  std::string_view event;
};

/// A bounded queue with three cursors, confirmed ≤ sent ≤ offered, each the sequence of an event. Events lie
/// one behind the other in segments that are never moved, so what peek() gave stays readable while another
/// thread appends. Not thread-safe as such: its owner guards every call.
class UnconfirmedEvents {
 public:
  /// @param head begins every event, see event_encoder.hpp.
  UnconfirmedEvents(std::string_view head, std::size_t bytes_max) : head_(head), bytes_max_(bytes_max) {}

  /// Size of the next event with such a tail.
  [[nodiscard]] std::size_t event_bytes(std::size_t tail_bytes) const noexcept;
  /// What an event takes of the bound.
  [[nodiscard]] static std::size_t footprint(std::size_t topic_bytes, std::size_t event_bytes) noexcept;

  /// Numbers an event and keeps it. @returns false, and keeps nothing, where the bound does not allow it.
  [[nodiscard]] bool append(std::string_view topic, std::string_view tail);

  /// The events behind `sent`, in order, as many as `out` takes. @returns how many.
  [[nodiscard]] std::size_t peek(std::span<EventFrames> out) const;
  /// Moves `sent` on by `count` of the events that peek() gave.
  void mark_sent(std::size_t count);
  /// Forgets the events up to `sequence` (at most `offered`); `sent` moves on where it lies behind that.
  void confirm(std::uint64_t sequence);
  /// Everything unconfirmed is to be sent again.
  void rewind() noexcept;

  [[nodiscard]] std::uint64_t offered() const noexcept { return offered_; }
  [[nodiscard]] std::uint64_t sent() const noexcept { return sent_; }
  [[nodiscard]] std::uint64_t confirmed() const noexcept { return confirmed_; }
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }

 private:
  struct Segment {
    std::unique_ptr<char[]> data;
    std::size_t capacity{};
    std::size_t used{};
    std::uint64_t last{};  ///< sequence of its last event
  };
  /// Where a record begins; a segment's end is the same place as the next one's beginning.
  struct Cursor {
    std::size_t segment{};
    std::size_t offset{};
  };

  char* reserve(std::size_t record_bytes);
  void drop_front_segment();
  void skip_to_record(Cursor& cursor) const noexcept;

  std::string_view head_;
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
