#pragma once
// What one client of an engine has yet to get.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <sys/uio.h>

#include "fanout/loss_ranges.hpp"
#include "fanout/span_queue.hpp"
#include "fanout/topic_table.hpp"

namespace backplane::fanout {

/// The pieces of one write: large ones by reference, small ones copied behind each other, as a piece costs
/// the kernel more than its copy. Lives on a worker's thread.
class Gather {
 public:
  void clear() noexcept { count_ = used_ = bytes_ = 0; }
  /// @returns false where it is full; then nothing was added.
  bool add(std::string_view bytes) noexcept;
  [[nodiscard]] std::span<const iovec> pieces() const noexcept { return {pieces_.data(), count_}; }
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }

 private:
  static constexpr std::size_t bytes_enough = 512u << 10;  // then others get their turn
  static constexpr std::size_t copied_below = 4096;
  std::vector<iovec> pieces_{std::vector<iovec>(64)};
  std::vector<char> scratch_{std::vector<char>(256u << 10)};
  std::size_t count_{};
  std::size_t used_{};
  std::size_t bytes_{};
};

/// The queue of one client: messages of the log, which may be dropped, and replies of its own, which may
/// not, in the order in which they came. Bounds nothing by itself. Lives on its worker's thread; owns the
/// replies, holds the segments of the messages.
///
/// Dropped messages leave one mark, behind everything that was queued before the last of them. What the
/// mark says is written when the queue has drained to it (loss_is_next), so that a report is made once and
/// late, however long the drought was. A message of which a byte is written is never dropped.
class Backlog {
 public:
  /// Both outlive it.
  Backlog(LogReader& reader, SpanPool& pool) noexcept : spans_(reader, pool) {}
  ~Backlog() { clear(); }
  Backlog(const Backlog&) = delete;
  Backlog& operator=(const Backlog&) = delete;

  /// Messages [first, last) of a segment, at least one.
  void add(Segment& segment, std::uint32_t first, std::uint32_t last) {
    // What was held elsewhere comes behind messages that are newer.
    in_order_ = spans_.empty() || (in_order_ && segment.base() + first >= end_);
    end_ = segment.base() + last;
    spans_.push(segment, first, last);
    pushed_ += last - first;
    message_bytes_ += segment.size(first, last);
  }
  void add_reply(std::string_view bytes);
  /// A copy of a message, queued as a reply is: it is never dropped.
  void add_copied(std::string_view message);

  /// Drops the oldest messages until at most `target` bytes of messages are queued. @returns how many.
  std::uint64_t drop_oldest(std::size_t target);
  /// Drops messages with a number below `position`, and what is queued before them, and holds no segment
  /// for them. @returns how many.
  std::uint64_t drop_before(std::uint64_t position);
  /// Takes out what a newer message of the same topic supersedes. @returns how many.
  /// @param newest scratch memory; what it held is lost
  std::uint64_t keep_latest(TopicTable& newest);
  /// Forgets all.
  void clear() noexcept;

  /// Whether what is written next is the report of what was dropped: see report_losses().
  [[nodiscard]] bool loss_is_next() const noexcept;
  [[nodiscard]] std::span<const Loss> losses() const noexcept;
  /// Puts `report` (which may be empty) in the mark's place. Only where loss_is_next().
  void report_losses(std::string_view report);

  /// Adds what is to be written next, as far as it reaches and up to a mark.
  void gather(Gather& out) const;
  /// Notes that `written` bytes of what gather() gave are written. @returns how many messages that ended.
  std::uint64_t advance(std::size_t written);

  [[nodiscard]] bool empty() const noexcept {
    return spans_.empty() && partial_.segment == nullptr && (!own_ || own_->empty());
  }
  /// Of messages that are not begun: what drop_oldest() can free.
  [[nodiscard]] std::size_t message_bytes() const noexcept { return message_bytes_; }
  /// Messages that are not written to their end, those that were copied among them.
  [[nodiscard]] std::uint64_t message_count() const noexcept {
    return pushed_ - popped_ + (has_partial() ? 1 : 0) + (own_ ? own_->copied.size() : 0);
  }
  [[nodiscard]] std::size_t reply_bytes() const noexcept { return own_ ? own_->bytes : 0; }

 private:
  struct Partial {
    Segment* segment{};
    std::uint32_t index{};
    std::uint32_t written{};  ///< of a message, and so less than Log::message_bytes_max
  };
  struct Reply {
    std::uint64_t after;  ///< so many messages come before it
    std::string bytes;
  };
  /// A queue that keeps its memory, and has none before the first thing in it.
  template <class Thing>
  class Queue {
   public:
    void push(Thing thing) { things_.push_back(std::move(thing)); }
    void pop() {
      if (++begin_ * 2 < things_.size()) return;
      things_.erase(things_.begin(), things_.begin() + static_cast<std::ptrdiff_t>(begin_));
      begin_ = 0;
    }
    [[nodiscard]] bool empty() const noexcept { return begin_ == things_.size(); }
    [[nodiscard]] std::size_t size() const noexcept { return things_.size() - begin_; }
    [[nodiscard]] const Thing& operator[](std::size_t index) const { return things_[begin_ + index]; }
    [[nodiscard]] Thing& operator[](std::size_t index) { return things_[begin_ + index]; }
    [[nodiscard]] const Thing& front() const { return things_[begin_]; }
    [[nodiscard]] Thing& back() { return things_.back(); }

   private:
    std::vector<Thing> things_;
    std::size_t begin_{};
  };
  /// What only some clients have, and most only for moments.
  struct OwnBytes {
    std::string first;  ///< to be written before all but a message begun: a report, or the rest of a message
    std::size_t first_written{};
    bool first_is_message{};
    Queue<Reply> replies;
    std::size_t reply_written{};  ///< of the oldest
    // Of all that was ever among the replies, how much was added and written, and where copies of messages
    // end.
    std::uint64_t replies_added{};
    std::uint64_t replies_written{};
    Queue<std::uint64_t> copied;
    std::size_t bytes{};  ///< of the replies, and of a report
    LossRanges losses;
    [[nodiscard]] bool empty() const noexcept { return first.empty() && replies.empty() && losses.empty(); }
  };

  [[nodiscard]] bool has_partial() const noexcept {
    return partial_.segment != nullptr || (own_ && own_->first_is_message);
  }
  OwnBytes& own();
  [[nodiscard]] std::string_view partial_rest() const noexcept;
  void pop_messages(const Span& span, std::uint32_t count) noexcept;
  void drop_message();
  [[nodiscard]] std::uint64_t count_until(std::uint64_t position) const;
  std::size_t advance_partial(std::size_t written, std::uint64_t& ended);
  std::size_t advance_first(std::size_t written, std::uint64_t& ended);
  std::size_t advance_reply(std::size_t written, std::uint64_t& ended);
  std::size_t advance_span(std::size_t written, std::uint64_t& ended);
  void tidy();

  SpanQueue spans_;
  Partial partial_;  ///< written in part; not in spans_ any more
  std::unique_ptr<OwnBytes> own_;
  // Messages that were ever queued, and that have left spans_ since; conflated ones count in neither.
  std::uint64_t pushed_{};
  std::uint64_t popped_{};
  std::uint64_t end_{};  ///< number of the message after the last
  std::size_t message_bytes_{};
  bool in_order_{true};  ///< of the log
};

}  // namespace backplane::fanout
