#pragma once
// What is queued for one client.

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

/// The pieces of one write. Large pieces are referenced; small ones are copied into one, because a piece
/// costs the kernel more than the copy. Lives on a worker's thread.
class Gather {
 public:
  void clear() noexcept { count_ = used_ = bytes_ = 0; }
  /// @returns false if it is full; nothing was added then.
  bool add(std::string_view bytes) noexcept;
  [[nodiscard]] std::span<const iovec> pieces() const noexcept { return {pieces_.data(), count_}; }
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }

 private:
  static constexpr std::size_t bytes_enough = 512u << 10;  // per client, before the next client's turn
  static constexpr std::size_t copied_below = 4096;
  std::vector<iovec> pieces_{std::vector<iovec>(64)};
  std::vector<char> scratch_{std::vector<char>(256u << 10)};
  std::size_t count_{};
  std::size_t used_{};
  std::size_t bytes_{};
};

/// What has become of a message that was offered for rewriting.
enum class TakeResult : std::uint8_t {
  taken,  ///< its bytes were appended; if there are none, the client does not get the message
  later,  ///< nothing was appended: the message stays, and is offered again
};

/// The queue of one client: messages of the log, which may be dropped, and its own replies, which may not, in
/// the order in which they were added. It has no limit of its own. Lives on its worker's thread; owns the
/// replies, and pins the segments of the messages.
///
/// Dropped messages leave one mark, behind everything that was queued before the last of them. When the queue
/// has drained to the mark (loss_is_next()), a report of all losses is written: once and late, however long
/// the client did not read. A message of which a byte is written is never dropped.
class Backlog {
 public:
  /// Both outlive it.
  Backlog(LogReader& reader, SpanPool& pool) noexcept : spans_(reader, pool) {}
  ~Backlog() { clear(); }
  Backlog(const Backlog&) = delete;
  Backlog& operator=(const Backlog&) = delete;

  /// Adds messages [first, last) of a segment, at least one.
  void add(Segment& segment, std::uint32_t first, std::uint32_t last) {
    // Messages from a join buffer can follow newer ones.
    in_order_ = spans_.empty() || (in_order_ && segment.base() + first >= end_);
    end_ = segment.base() + last;
    spans_.push(segment, first, last);
    pushed_ += last - first;
    message_bytes_ += segment.size(first, last);
  }
  void add_reply(std::string_view bytes);
  /// Adds a copy of a message, as a reply: it is never dropped.
  void add_copied(std::string_view message);

  /// Drops the oldest messages until at most `target` bytes of messages are queued. @returns how many.
  std::uint64_t drop_oldest(std::size_t target);
  /// Drops messages with a number below `position`, and all messages before them, and unpins their segments.
  /// @returns how many.
  std::uint64_t drop_before(std::uint64_t position);
  /// Removes messages that a newer one of the same topic supersedes. @returns how many.
  /// @param newest scratch memory
  std::uint64_t keep_latest(TopicTable& newest);
  /// Removes everything.
  void clear() noexcept;

  /// Whether the report of losses is written next: see report_losses().
  [[nodiscard]] bool loss_is_next() const noexcept;
  [[nodiscard]] std::span<const Loss> losses() const noexcept;
  /// Replaces the mark by `report`, which may be empty. Only if loss_is_next().
  void report_losses(std::string_view report);

  /// From now on, messages are not written as they are: only what rewrite() makes of them is. Replies no
  /// longer wait for the messages before them.
  void begin_rewriting() noexcept { rewriting_ = true; }
  struct Rewritten {
    std::uint64_t skipped{};  ///< messages that were removed
    bool waiting{};           ///< `take` has left a message
  };
  /// Calls take(message, out) for each message, the oldest first, until about `bytes_max` bytes are in `out`,
  /// which are written next. Does nothing while what an earlier call made, or a report, is not written, and
  /// while a report is due.
  template <class Take>
  Rewritten rewrite(std::size_t bytes_max, Take&& take) {
    Rewritten result;
    if (spans_.empty() || partial_.segment != nullptr) return result;
    if (own_ && (!own_->first.empty() || !own_->losses.empty())) return result;
    OwnBytes& mine = own();
    while (!spans_.empty() && mine.first.size() < bytes_max) {
      const Span& span = spans_.front();
      const std::size_t before = mine.first.size();
      const TakeResult taken = take(span.segment->bytes(span.first, span.first + 1), mine.first);
      if (taken == TakeResult::later) {
        mine.first.resize(before);
        result.waiting = true;
        break;
      }
      if (mine.first.size() > before) {
        ++mine.first_messages;
      } else {
        ++result.skipped;
      }
      pop_messages(span, 1);
    }
    mine.first_written = 0;
    mine.first_after = mine.replies_added;
    tidy();
    return result;
  }
  /// Whether nothing is to be written before rewrite() has taken another message.
  [[nodiscard]] bool awaits_rewriting() const noexcept {
    return rewriting_ && partial_.segment == nullptr && (!own_ || own_->empty());
  }

  /// Adds to `out` what is to be written next, until `out` is full or the mark is reached.
  void gather(Gather& out) const;
  /// Notes that the first `written` bytes of what gather() added are written.
  /// @returns how many messages are now written to their end
  std::uint64_t advance(std::size_t written);

  [[nodiscard]] bool empty() const noexcept {
    return spans_.empty() && partial_.segment == nullptr && (!own_ || own_->empty());
  }
  /// Bytes of the messages of which nothing is written: what drop_oldest() can drop.
  [[nodiscard]] std::size_t message_bytes() const noexcept { return message_bytes_; }
  /// Messages that are not written to their end, including copied ones.
  [[nodiscard]] std::uint64_t message_count() const noexcept {
    return pushed_ - popped_ + (partial_.segment != nullptr ? 1 : 0) +
           (own_ ? own_->first_messages + own_->copied.size() : 0);
  }
  [[nodiscard]] std::size_t reply_bytes() const noexcept { return own_ ? own_->bytes : 0; }

 private:
  struct Partial {
    Segment* segment{};
    std::uint32_t index{};
    std::uint32_t written{};  ///< less than Log::message_bytes_max
  };
  struct Reply {
    std::uint64_t after;  ///< how many of the messages ever queued come before it
    std::string bytes;
  };
  /// A queue that keeps its memory, and allocates none until something is pushed.
  template <class T>
  class Queue {
   public:
    void push(T item) { items_.push_back(std::move(item)); }
    void pop() {
      if (++begin_ * 2 < items_.size()) return;
      items_.erase(items_.begin(), items_.begin() + static_cast<std::ptrdiff_t>(begin_));
      begin_ = 0;
    }
    [[nodiscard]] bool empty() const noexcept { return begin_ == items_.size(); }
    [[nodiscard]] std::size_t size() const noexcept { return items_.size() - begin_; }
    [[nodiscard]] const T& operator[](std::size_t index) const { return items_[begin_ + index]; }
    [[nodiscard]] T& operator[](std::size_t index) { return items_[begin_ + index]; }
    [[nodiscard]] const T& front() const { return items_[begin_]; }
    [[nodiscard]] T& back() { return items_.back(); }

   private:
    std::vector<T> items_;
    std::size_t begin_{};
  };
  /// Bytes that belong to this client alone. Most clients have none, or only for moments.
  struct OwnBytes {
    /// A report, the rest of a message, or rewritten messages: written before all but partial_ and the
    /// replies that were added before messages were rewritten.
    std::string first;
    std::size_t first_written{};
    std::uint32_t first_messages{};  ///< 0: a report
    std::uint64_t first_after{};     ///< how many bytes of all replies ever come before `first`
    Queue<Reply> replies;
    std::size_t reply_written{};  ///< of the oldest
    // Positions among the bytes of all replies ever: how much was added and written, and where each copied
    // message ends.
    std::uint64_t replies_added{};
    std::uint64_t replies_written{};
    Queue<std::uint64_t> copied;
    std::size_t bytes{};  ///< unwritten, of the replies and of a report
    LossRanges losses;
    [[nodiscard]] bool empty() const noexcept { return first.empty() && replies.empty() && losses.empty(); }
    [[nodiscard]] bool first_is_next() const noexcept {
      return !first.empty() && replies_written >= first_after;
    }
  };

  OwnBytes& own();
  void gather_rewritten(Gather& out) const;
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
  // How many messages were ever queued, and how many of them have left spans_. Neither counts conflated ones.
  std::uint64_t pushed_{};
  std::uint64_t popped_{};
  std::uint64_t end_{};  ///< number of the message after the last
  std::size_t message_bytes_{};
  bool in_order_{true};  ///< the queued messages are in the order of the log
  bool rewriting_{};
};

}  // namespace backplane::fanout
