#pragma once
// Counts how each message matched with a shard's clients ended: delivered, conflated, dropped or pending.

#include <atomic>
#include <cstdint>

namespace backplane::fanout {

/// Counts messages, each once per client. At the end of every turn of the shard, exactly:
///     matched = delivered + conflated + dropped + client_gone + unsubscribed + join_buffer_full + skipped
///               + pending
/// Each event is counted where it happens; `pending` is what the clients' queues contain.
struct DeliveryLedger {
  std::uint64_t matched{};       ///< reached a client, through whichever of its audiences came first
  std::uint64_t delivered{};     ///< written to the last byte
  std::uint64_t conflated{};     ///< superseded by a newer message of the topic, as the client requested
  std::uint64_t dropped{};       ///< the backlog was full; announced to the client
  std::uint64_t client_gone{};   ///< unwritten when the client's connection ended
  std::uint64_t unsubscribed{};  ///< in a join buffer, or throttled, when the client left the audience
  /// In a join buffer that became too large; see Handler::on_join_buffer_full().
  std::uint64_t join_buffer_full{};
  /// Left out, because the client has them from a replay, or by Handler::rewrite().
  std::uint64_t skipped{};
  std::uint64_t pending{};  ///< now in a client's queue or in one of its join buffers

  /// Calls visit(mine.x, theirs.x) for each counter x of two ledgers.
  template <class Mine, class Theirs, class Visit>
  static void each(Mine& mine, Theirs& theirs, Visit&& visit) {
    visit(mine.matched, theirs.matched);
    visit(mine.delivered, theirs.delivered);
    visit(mine.conflated, theirs.conflated);
    visit(mine.dropped, theirs.dropped);
    visit(mine.client_gone, theirs.client_gone);
    visit(mine.unsubscribed, theirs.unsubscribed);
    visit(mine.join_buffer_full, theirs.join_buffer_full);
    visit(mine.skipped, theirs.skipped);
    visit(mine.pending, theirs.pending);
  }
};

/// A ledger that one thread publishes and any thread reads, all counters as of the same moment. A seqlock:
/// the writer never waits; a reader that overlaps a publish() retries.
class PublishedDeliveryLedger {
 public:
  /// On the writer's thread.
  void publish(const DeliveryLedger& ledger) noexcept {
    const std::uint64_t version = version_.load(std::memory_order_relaxed);
    version_.store(version + 1, std::memory_order_relaxed);
    // A reader that sees one of these stores also sees the odd version.
    DeliveryLedger::each(ledger_, ledger,
                         [](auto& to, std::uint64_t from) { to.store(from, std::memory_order_release); });
    version_.store(version + 2, std::memory_order_release);
  }
  /// Any thread.
  [[nodiscard]] DeliveryLedger read() const noexcept {
    for (;;) {
      const std::uint64_t version = version_.load(std::memory_order_acquire);
      DeliveryLedger ledger;
      DeliveryLedger::each(ledger, ledger_, [](std::uint64_t& to, const auto& from) {
        to = from.load(std::memory_order_acquire);
      });
      if (version % 2 == 0 && version_.load(std::memory_order_relaxed) == version) return ledger;
    }
  }

 private:
  struct Shared {
    std::atomic<std::uint64_t> matched, delivered, conflated, dropped, client_gone, unsubscribed,
        join_buffer_full, skipped, pending;
  };
  std::atomic<std::uint64_t> version_{0};
  Shared ledger_{};
};

}  // namespace backplane::fanout
