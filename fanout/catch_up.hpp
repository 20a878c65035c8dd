#pragma once
// What one client does while it catches up with the live stream.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "fanout/counter.hpp"
#include "fanout/delivery_ledger.hpp"
#include "fanout/join_buffers.hpp"
#include "fanout/log/ids.hpp"
#include "fanout/log/log.hpp"
#include "fanout/routes.hpp"
#include "fanout/skip.hpp"
#include "fanout/stream_progress.hpp"

namespace backplane::fanout {

/// Joins one client to audiences without a hole and without a duplicate, while it receives a replay of what
/// came before:
/// 1. Live messages of an audience that is being joined wait in its join buffer.
/// 2. On release, messages that the replay contained are skipped; the others leave the buffer.
/// 3. A replay may have run ahead of the log. Until each of its streams has reached the replay's end, later
///    messages that it contained are skipped as well.
/// 4. From then until the low watermark has passed the replay's end, only late messages are skipped.
/// A client that joins several audiences can be in several of these steps at once.
///
/// Only a client that catches up has one; it may be destroyed at any time, and should be once done(). Lives
/// on its worker's thread. Owns the join buffers, which pin segments of the log, and shares the skips. It
/// queues nothing: it returns the messages that need not wait any longer, and the client enqueues them. It
/// counts in the shard's ledger what it skips and discards, and what waits.
class CatchUp {
 public:
  /// A message that need not wait any longer. Its receiver unpins the segment.
  using Ready = JoinBuffers::Ready;

  /// What it uses of its shard. All of it outlives the CatchUp, and so does the Context.
  struct Context {
    LogReader& reader;
    const Routes& routes;
    const StreamProgress& progress;
    DeliveryLedger& ledger;
    Counter& join_buffers_full;
    std::size_t join_buffers_bytes_max;  ///< for all join buffers of one client
  };

  explicit CatchUp(const Context& context) noexcept : context_(context) {}
  /// Counts messages that still wait as lost with their client.
  ~CatchUp();
  CatchUp(const CatchUp&) = delete;
  CatchUp& operator=(const CatchUp&) = delete;

  // Joining an audience.

  /// From now on, messages of the audience wait in its join buffer.
  void begin(AudienceId audience);
  /// Whether they do: begin() was called, and neither release() nor leave() was, and the buffer is not full.
  [[nodiscard]] bool is_buffering(AudienceId audience) const noexcept {
    return buffers_ && buffers_->has(audience);
  }
  /// Ends the audience's join buffer, and skips what `skip` (which may be nullptr) contains, now and later.
  /// @param throttled the audience has an interval
  /// @returns what need not wait any longer, in the log's order
  [[nodiscard]] std::vector<Ready> release(AudienceId audience, bool throttled, SkipPtr skip);
  /// The client has left the audience: discards what only that audience has for it, and its skips.
  /// @returns messages of other audiences that waited behind those, in the log's order
  [[nodiscard]] std::vector<Ready> leave(AudienceId audience);

  // For each run of messages of the log, in this order: begin_run(), any number of times; admit() for each
  // message that reaches the client through an active audience; buffer() for each audience that is buffering.

  /// Whether messages need these calls. If not, only late messages may still be skipped.
  [[nodiscard]] bool filters() const noexcept { return buffers_ || !skips_.empty(); }
  /// @returns what discard_over_limit() does, which is done between two runs, and never within one
  [[nodiscard]] std::vector<Ready> begin_run(const Segment& segment, std::uint32_t first);
  /// Whether the message is to be enqueued now. If not, it is skipped, or waits because an earlier message of
  /// its topic does.
  /// @param via the audience through which it comes
  [[nodiscard]] bool admit(Segment& segment, std::uint32_t index, AudienceId via, bool throttled);
  /// Puts messages [first, last) in the audience's join buffer.
  /// @param claimed the client gets them through another audience already
  void buffer(AudienceId audience, Segment& segment, std::uint32_t first, std::uint32_t last, bool claimed);

  /// Whether the client has this late message from a replay.
  [[nodiscard]] bool skips_late(const Segment& segment, std::uint32_t index) const;

  // Between two runs.

  /// Discards the largest join buffers, until all of them are within the limit.
  /// @returns messages of other audiences that waited behind those, in the log's order for each buffer
  [[nodiscard]] std::vector<Ready> discard_over_limit();
  /// Discards join buffers that pin messages with a number below `position`. @returns the same.
  [[nodiscard]] std::vector<Ready> discard_before(std::uint64_t position);
  /// Whether take_full() has something to return.
  [[nodiscard]] bool has_full() const noexcept { return !full_.empty(); }
  /// @returns audiences whose join buffer was discarded, each once; the client must leave them
  [[nodiscard]] std::vector<AudienceId> take_full() noexcept { return std::exchange(full_, {}); }

  /// Ends skips that can contain no later message. To be called when a stream has come further.
  void end_skips();
  /// Whether a skip applies to all messages: end_skips() may end it when the log has come further.
  [[nodiscard]] bool has_skips() const noexcept { return !skips_.empty(); }
  /// Whether a skip applies to late messages only: end_skips() may end it when a low watermark advances.
  [[nodiscard]] bool has_past_skips() const noexcept { return !past_skips_.empty(); }
  /// Whether nothing is left to do.
  [[nodiscard]] bool done() const noexcept {
    return !buffers_ && skips_.empty() && past_skips_.empty() && full_.empty();
  }

 private:
  template <class Change>
  auto change_buffers(Change&& change);
  [[nodiscard]] bool contains(const SkipList& skips, const Segment& segment, std::uint32_t index) const;
  void discard_full(AudienceId audience, std::vector<Ready>& ready);
  void tidy() noexcept;

  const Context& context_;
  std::unique_ptr<JoinBuffers> buffers_;  ///< nullptr if no audience is buffering and no message waits
  SkipList skips_;                        ///< apply to all messages
  SkipList past_skips_;                   ///< apply to late messages: the log has passed them
  std::vector<AudienceId> full_;
};

}  // namespace backplane::fanout
