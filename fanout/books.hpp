#pragma once
// What became of the messages that were for a shard's clients.

#include <atomic>
#include <cstdint>

namespace backplane::fanout {

/// Messages, each counted once a client that it is for. At the end of a turn, exactly,
///     matched = delivered + conflated + dropped + abandoned + left + join_buffer_full + skipped + pending
/// where each is counted where it happens, and `pending` by what the clients' queues hold.
struct Books {
  std::uint64_t matched{};    ///< handed to a client, by whichever audience first
  std::uint64_t delivered{};  ///< written to the last byte
  std::uint64_t conflated{};  ///< superseded by a newer one of the topic, as the client asked for it
  std::uint64_t dropped{};    ///< the backlog was full: announced
  std::uint64_t abandoned{};  ///< not written when their client ended
  std::uint64_t left{};       ///< kept aside, or for the next interval, when the client left the audience
  std::uint64_t
      join_buffer_full{};   ///< kept aside until that was too much: Handler::on_join_buffer_full() said so
  std::uint64_t skipped{};  ///< left out, as the client had them by another way
  std::uint64_t pending{};  ///< now: in clients' queues, or kept aside for them

  /// Calls visit(ours, theirs) for each of them, of two books.
  template <class Mine, class Theirs, class Visit>
  static void each(Mine& mine, Theirs& theirs, Visit&& visit) {
    visit(mine.matched, theirs.matched);
    visit(mine.delivered, theirs.delivered);
    visit(mine.conflated, theirs.conflated);
    visit(mine.dropped, theirs.dropped);
    visit(mine.abandoned, theirs.abandoned);
    visit(mine.left, theirs.left);
    visit(mine.join_buffer_full, theirs.join_buffer_full);
    visit(mine.skipped, theirs.skipped);
    visit(mine.pending, theirs.pending);
  }
};

/// One thread's books for others to read, all of one moment: without a lock, so that the writer never waits.
/// A reader that meets the writer reads again.
class PublishedBooks {
 public:
  /// The one writer.
  void publish(const Books& books) noexcept {
    const std::uint64_t version = version_.load(std::memory_order_relaxed);
    version_.store(version + 1, std::memory_order_relaxed);
    // Whoever sees one of these stores sees the odd version too.
    Books::each(books_, books,
                [](auto& to, std::uint64_t from) { to.store(from, std::memory_order_release); });
    version_.store(version + 2, std::memory_order_release);
  }
  /// Any thread.
  [[nodiscard]] Books read() const noexcept {
    for (;;) {
      const std::uint64_t version = version_.load(std::memory_order_acquire);
      Books books;
      Books::each(books, books_,
                  [](std::uint64_t& to, const auto& from) { to = from.load(std::memory_order_acquire); });
      if (version % 2 == 0 && version_.load(std::memory_order_relaxed) == version) return books;
    }
  }

 private:
  struct Shared {
    std::atomic<std::uint64_t> matched, delivered, conflated, dropped, abandoned, left, join_buffer_full,
        skipped, pending;
  };
  std::atomic<std::uint64_t> version_{0};
  Shared books_{};
};

}  // namespace backplane::fanout
