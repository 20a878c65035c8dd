#pragma once
// Joins a client that receives a replay to the live stream.

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

/// Joins one client to audiences without a hole and without a duplicate, while it receives a replay of
/// earlier messages:
/// 1. Live messages of an audience that is being joined wait in its join buffer.
/// 2. On release, messages that the replay contained are skipped; the others leave the buffer.
/// 3. A replay may have run ahead of the log. Until the log has reached the replay's end in each of its
///    streams, messages that the replay contained are skipped as well.
/// 4. From then on, until the low watermark has passed the replay's end, only late messages (which gap repair
///    recovered) are skipped.
/// A client that joins several audiences can be in several of these steps at once.
///
/// Only a client that catches up has one. It may be destroyed at any time, and should be once done(). Lives
/// on the client's worker thread. Owns the join buffers, which pin segments of the log, and shares the skips.
/// It queues nothing: it returns the messages that are ready, and the client enqueues them. It counts
/// skipped, discarded and waiting messages in the shard's ledger.
class CatchUp {
 public:
  /// A message that is ready to be enqueued. The caller unpins its segment.
  using Ready = JoinBuffers::Ready;

  /// The parts of its shard that it uses. They outlive the CatchUp, and so does the Context.
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
  /// Whether the audience's messages wait: begin() was called, and neither release() nor leave() was, and the
  /// buffer is not full.
  [[nodiscard]] bool is_buffering(AudienceId audience) const noexcept {
    return buffers_ && buffers_->has(audience);
  }
  /// Ends the audience's join buffer, and skips what `skip` (which may be nullptr) contains, now and later.
  /// @param throttled the audience has an interval
  /// @returns what need not wait any longer, in the log's order
  [[nodiscard]] std::vector<Ready> release(AudienceId audience, bool throttled, SkipPtr skip);
  /// Skips what is skipped for `from` for `to` instead. Call it before leave(from).
  void transfer_skips(AudienceId from, AudienceId to) {
    skips_.transfer(from, to);
    past_skips_.transfer(from, to);
  }
  /// The client has left the audience: discards what only that audience has for it, and its skips.
  /// @returns messages of other audiences that waited behind those, in the log's order
  [[nodiscard]] std::vector<Ready> leave(AudienceId audience);

  // For each run of messages of the log, in this order: begin_run(), any number of times; admit() for each
  // message that reaches the client through an active audience; buffer() for each audience that is buffering.

  /// Whether messages need these calls. If not, only late messages may still be skipped.
  [[nodiscard]] bool filters() const noexcept { return buffers_ || !skips_.empty(); }
  /// Calls discard_over_limit(), which may run between two runs only. @returns its result
  [[nodiscard]] std::vector<Ready> begin_run(const Segment& segment, std::uint32_t first);
  /// Whether to enqueue the message now. If not, it is skipped, or waits because an earlier message of its
  /// topic waits.
  /// @param via the audience through which it comes
  [[nodiscard]] bool admit(Segment& segment, std::uint32_t index, AudienceId via, bool throttled);
  /// Puts messages [first, last) in the audience's join buffer.
  /// @param claimed the client gets them through another audience already
  void buffer(AudienceId audience, Segment& segment, std::uint32_t first, std::uint32_t last, bool claimed);

  /// Whether a replay has already delivered this late message to the client.
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

  /// Ends skips that can match no later message. Call it when a stream has advanced.
  void end_skips();
  /// Whether a skip applies to all messages: end_skips() may end it when the log has advanced.
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
