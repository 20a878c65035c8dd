#pragma once
// One client of an engine.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fanout/audience_table.hpp"
#include "fanout/backlog.hpp"
#include "fanout/catch_up.hpp"
#include "fanout/log/ids.hpp"
#include "fanout/stream.hpp"
#include "fanout/throttles.hpp"
#include "fanout/timer_wheel.hpp"

namespace backplane::fanout {

struct DeliveryLedger;
class Client;
class Shard;

/// What a protocol does with one client. Called on the client's worker; it may call the client's methods
/// at any time until it is destroyed, which its client does, on the same thread.
class Handler {
 public:
  virtual ~Handler() = default;
  /// Bytes from the client, as they came: half a line or ten.
  virtual void on_bytes(std::string_view bytes) = 0;
  /// The client will send no more. It may still be listening.
  virtual void on_input_end() = 0;
  /// There is room again: appends what is to be said of all that was lost since the last time.
  virtual void report_losses(std::span<const Loss> losses, std::string& out) = 0;
  /// The engine is about to end, or ("slow_consumer") the backlog is full and cannot be kept, or
  /// ("replies_unread") all clients' replies are too much, and this one has the most that it does not read,
  /// or
  /// ("silent") nothing came in time, or ("idle") nothing has come or gone for long: says why and calls
  /// Client::end().
  virtual void say_goodbye(std::string_view reason) = 0;
  /// After Client::notify_when_drained(), once: most of what was replied is written.
  virtual void on_replies_drained() {}
  /// It is the time that Client::set_alarm() was given.
  virtual void on_alarm() {}
  /// More was kept aside for Engine::join_buffered() than may be: the client has left the audience, and what
  /// was kept is forgotten. Somebody must fetch it again or tell the client; who does neither loses the
  /// client rather than its trust.
  virtual void on_join_buffer_full(AudienceId audience) {
    static_cast<void>(audience);
    say_goodbye("slow_consumer");
  }
};

/// What happens where a client's backlog is full.
enum class Policy : std::uint8_t {
  gap,     ///< the oldest messages are dropped, and the client is told of each when it reads again
  latest,  ///< of each topic only the newest stays, unannounced; what is still too much is a gap
  disconnect,
};

struct ClientLimits {
  std::size_t backlog_bytes_max = 8u << 20;   ///< messages queued for one client
  std::size_t replies_bytes_max = 64u << 10;  ///< above it, no input is read until replies are written
  std::size_t replies_bytes_low = 16u << 10;  ///< at most so much is left to write when there is room
  /// Notices to somebody who reads nothing; larger than any report of losses.
  std::size_t unread_bytes_max = 32u << 20;
  /// Who cannot be told of its losses, over so many topics, is ended with the reason.
  std::size_t loss_ranges_max = 100'000;
};

/// One client. Lives on its shard's thread; every method is called there. Owns its stream, its handler and
/// its replies; the messages are the log's. Its shard destroys it, in a flush() after it is closed().
class Client final : private TimerWheel::Timer {
 public:
  using Clock = TimerWheel::Clock;

  /// `shard` outlives it.
  Client(ClientId id, std::unique_ptr<Stream> stream, Shard& shard);
  ~Client() override;
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  [[nodiscard]] ClientId id() const noexcept { return id_; }

  // The protocol's side. Nothing is written before the shard's flush().

  /// Queues bytes for this client alone, behind all messages that it was given so far. They are never
  /// dropped: above unread_bytes_max of them the client is aborted.
  void reply(std::string_view bytes);
  void set_policy(Policy policy) noexcept { policy_ = policy; }
  /// Has Handler::on_replies_drained() called once, from a later flush(), when at most replies_bytes_low of
  /// replies are not written: so that a long answer is made in slices, as fast as the client reads. A slice
  /// of some 64 KiB to 256 KiB keeps the client busy.
  void notify_when_drained() noexcept;
  /// Neither first_byte_timeout nor idle_timeout applies from now on, as to a client that has come to
  /// listen; or they do again, from now.
  void exempt_from_timeouts(bool exempt) noexcept;
  /// Stops reading from the client, for as long as the protocol can't take more.
  void pause_input(bool paused) noexcept;
  /// Has Handler::on_alarm() called once at that time, and not at one that was set before. It ends with the
  /// handler that set it.
  void set_alarm(Clock::time_point at);
  void cancel_alarm() noexcept;
  /// When this turn of its shard began.
  [[nodiscard]] Clock::time_point now() const noexcept;
  /// When anything last came or was written.
  [[nodiscard]] Clock::time_point active_at() const noexcept { return active_at_; }
  /// Queues `last_words`, takes no more input or messages, and ends when all that is queued is written.
  void end(std::string_view last_words);
  /// Has `handler` from now on, which is given `rest`, where it is not empty, and then what comes. May be
  /// called by the handler itself, whatever it was called for: it is destroyed when that call has returned.
  /// Once until then.
  void switch_handler(std::unique_ptr<Handler> handler, std::string_view rest);
  /// Nothing has ended it.
  [[nodiscard]] bool open() const noexcept { return state_ == State::open; }
  [[nodiscard]] bool input_ended() const noexcept { return input_ended_; }
  [[nodiscard]] const Backlog& backlog() const noexcept { return backlog_; }
  [[nodiscard]] Handler& handler() noexcept { return *handler_; }
  /// Ends it at once; what is queued is lost.
  void abort() noexcept;

  // The shard's side.

  void set_handler(std::unique_ptr<Handler> handler) noexcept { handler_ = std::move(handler); }
  /// Queues messages of the log; those that it was given before, by another audience, are not given again.
  void enqueue(Segment& segment, std::uint32_t first, std::uint32_t last);
  /// The same, one message at once and then the latest of its topic once an `interval`, where it changed.
  void enqueue_throttled(AudienceId audience, std::chrono::milliseconds interval, Segment& segment,
                         std::uint32_t first, std::uint32_t last);
  /// Lets go of segments before `position`.
  void evict(std::uint64_t position);
  /// Messages of the audience wait in a join buffer from now on.
  void begin_buffering(AudienceId audience);
  [[nodiscard]] bool is_buffering(AudienceId audience) const noexcept {
    return catch_up_ && catch_up_->is_buffering(audience);
  }
  void buffer(AudienceId audience, Segment& segment, std::uint32_t first, std::uint32_t last);
  /// @param throttled the audience has an interval
  void release_join_buffer(AudienceId audience, bool throttled, SkipPtr skip);
  /// See CatchUp.
  void end_skips();
  [[nodiscard]] bool has_skips() const noexcept { return catch_up_ && catch_up_->has_skips(); }
  [[nodiscard]] bool has_past_skips() const noexcept { return catch_up_ && catch_up_->has_past_skips(); }
  /// Skips a late message, behind a later one of its stream, if the client has it from a replay.
  /// @returns whether it does
  bool skip_late(const Segment& segment, std::uint32_t index);
  /// Discards what only this audience has for the client.
  void on_leave(AudienceId audience);
  /// Kept by the shard.
  [[nodiscard]] AudienceTable& audiences() noexcept { return audiences_; }

  void on_readable();
  void on_writable();
  /// Writes what is queued in one gathered write; reads what could not be taken before.
  void flush(Clock::time_point now);

  [[nodiscard]] bool closed() const noexcept { return state_ == State::closed; }

 private:
  enum class State : std::uint8_t { open, ending, output_ended, closed };
  class Alarm;
  /// Who handled it before, and what the new handler has yet to get.
  struct HandlerSwitch {
    std::unique_ptr<Handler> before;
    std::string rest;
  };

  [[nodiscard]] DeliveryLedger& ledger() noexcept;
  /// Runs change(), which makes the client's queues longer or shorter, and keeps the account of what is
  /// pending. Not within another one.
  template <class Change>
  auto update_pending(Change&& change);
  void on_time(Clock::time_point now) override;
  [[nodiscard]] bool wants_input() const noexcept;
  void mark_queued();
  void mark_changed();
  bool claim_new(const Segment& segment, std::uint32_t& first, std::uint32_t last) noexcept;
  void append(Segment& segment, std::uint32_t first, std::uint32_t last);
  void throttle(AudienceId audience, std::chrono::milliseconds interval, Segment& segment,
                std::uint32_t index);
  void enqueue_ready(const std::vector<CatchUp::Ready>& ready);
  void notify_full_join_buffers();
  void end_catch_up_if_done() noexcept;
  void make_room();
  void note_dropped(std::uint64_t count);
  void read();
  void finish_switch();
  void write();
  void note_progress();
  bool send_throttled(std::string_view bytes);
  void bound_replies(std::size_t before);
  void count_replies(std::size_t before) noexcept;

  const ClientId id_;
  const std::unique_ptr<Stream> stream_;
  Shard& shard_;
  Backlog backlog_;
  std::unique_ptr<Handler> handler_;
  std::unique_ptr<Alarm> alarm_;
  std::unique_ptr<HandlerSwitch> switch_;  ///< only until the call has returned in which it became another
  AudienceTable audiences_;
  std::unique_ptr<CatchUp> catch_up_;     ///< only while it catches up
  std::unique_ptr<Throttles> throttles_;  ///< from the first throttled message on
  Clock::time_point active_at_{};         ///< when anything last came or was written
  std::uint64_t claimed_until_{};         ///< number of the message after the last that it was given
  State state_{State::open};
  Policy policy_{Policy::gap};
  bool dirty_{};     ///< its shard will flush it
  bool unsent_{};    ///< counted as one with something to write
  bool blocked_{};   ///< the stream takes no more, until on_writable()
  bool readable_{};  ///< the stream may have more input
  bool input_paused_{};
  bool input_ended_{};
  bool has_received_{};
  bool lingering_{};
  bool notify_drained_{};
};

}  // namespace backplane::fanout
