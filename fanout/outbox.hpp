#pragma once
// What one session has yet to write.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>

#include <sys/uio.h>

#include "fanout/message.hpp"

namespace backplane::fanout {

/// The queue of one session: shared events, which may be dropped, and replies of its own, which may not,
/// in the order in which they came. Bounds nothing by itself: its session drops. Lives on its session's
/// thread; owns the replies, shares the events.
///
/// Dropped events leave one mark, behind everything that was queued before the last of them. What the
/// mark says is written when the queue has drained to it (loss_is_next), so that a report is made once
/// and late, however long the drought was.
class Outbox {
 public:
  void add_reply(std::string_view bytes);
  void add_event(MessagePtr message);

  /// Takes out the oldest event of which no byte is written yet. @returns nullptr where there is none.
  [[nodiscard]] MessagePtr drop_oldest();

  /// Whether what is written next is the report of what was dropped: see report_losses().
  [[nodiscard]] bool loss_is_next() const noexcept;
  /// Puts `report` (which may be empty) in the mark's place. Only where loss_is_next().
  void report_losses(std::string_view report);

  /// Points `out` at what is to be written next, as far as it reaches and up to a mark. @returns how
  /// many entries it filled. The views hold until the next call of another method.
  [[nodiscard]] std::size_t gather(std::span<iovec> out) const;
  /// Notes that `written` bytes of what gather() gave are written. @returns how many events that ended.
  std::size_t advance(std::size_t written);

  [[nodiscard]] bool empty() const noexcept {
    return !has_begun() && replies_.empty() && events_.empty() && loss_at_ == 0;
  }
  /// Of events that are not begun: what drop_oldest() can free.
  [[nodiscard]] std::size_t event_bytes() const noexcept { return event_bytes_; }
  [[nodiscard]] std::size_t event_count() const noexcept { return events_.size(); }
  [[nodiscard]] std::size_t reply_bytes() const noexcept { return reply_bytes_; }

 private:
  using Order = std::uint64_t;  ///< 1, 2, 3, … over replies and events: which was first
  struct Event {
    Order order;
    MessagePtr message;
  };
  struct Reply {
    Order order;
    std::string bytes;
  };

  [[nodiscard]] bool has_begun() const noexcept { return begun_event_ != nullptr || !begun_reply_.empty(); }
  [[nodiscard]] std::string_view begun() const noexcept;

  // What is written in part stands apart, so that the front of events_ can always be dropped.
  MessagePtr begun_event_;
  std::string begun_reply_;
  std::size_t begun_written_{};

  std::deque<Event> events_;
  std::deque<Reply> replies_;
  Order last_{};
  Order loss_at_{};  ///< the order of the last event dropped; 0: no mark
  std::size_t event_bytes_{};
  std::size_t reply_bytes_{};
};

}  // namespace backplane::fanout
