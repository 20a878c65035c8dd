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

/// The protocol of one client. Lives on the client's worker and is called there. It may call the client at
/// any time. The client destroys it, on the same thread.
class Handler {
 public:
  virtual ~Handler() = default;
  /// Bytes from the client, in pieces of any size: half a line or ten lines.
  virtual void on_bytes(std::string_view bytes) = 0;
  /// The client will send no more. It may still be listening.
  virtual void on_input_end() = 0;
  /// The backlog has drained: appends to `out` what the client is to read about everything that was lost
  /// since the last report.
  virtual void report_losses(std::span<const Loss> losses, std::string& out) = 0;
  /// Called after Client::rewrite_messages() for each message, in their order: appends what the client is to
  /// read instead, or nothing. `later`: the client cannot take it yet; the next call comes after
  /// Client::continue_rewriting(), or when more messages have come.
  virtual TakeResult rewrite(std::string_view message, std::string& out) {
    out.append(message);
    return TakeResult::taken;
  }
  /// Must tell the client why its connection ends, and call Client::end(). The reason is one that the owner
  /// passed to Engine::say_goodbye(), or
  /// - "slow_consumer": the backlog is full and the policy is `disconnect`, or there are too many losses
  /// - "replies_unread": the replies of all clients exceed their limit, and this client has the most
  /// - "silent": no byte came within first_byte_timeout
  /// - "idle": nothing came or was written within idle_timeout.
  virtual void say_goodbye(std::string_view reason) = 0;
  /// Called once after Client::notify_when_drained(): most of the replies are written.
  virtual void on_replies_drained() {}
  /// The time passed to Client::set_alarm() has come.
  virtual void on_alarm() {}
  /// Too much was in the join buffer of an audience (see Engine::join_buffered()): the client has left the
  /// audience, and the buffered messages are discarded. The handler must have them replayed, or tell the
  /// client that they are lost. By default the connection ends, because the client would miss them
  /// unannounced.
  virtual void on_join_buffer_full(AudienceId audience) {
    static_cast<void>(audience);
    say_goodbye("slow_consumer");
  }
};

/// What happens when a client's backlog is full.
enum class Policy : std::uint8_t {
  gap,     ///< the oldest messages are dropped; each is announced to the client when it reads again
  latest,  ///< only the newest message of each topic is kept, unannounced; if that is too much: gap
  disconnect,
};

struct ClientLimits {
  std::size_t backlog_bytes_max = 8u << 20;   ///< messages queued for one client
  std::size_t replies_bytes_max = 64u << 10;  ///< above it, no input is read until replies are written
  std::size_t replies_bytes_low = 16u << 10;  ///< replies have drained when at most this much is unwritten
  /// Above so many bytes of unwritten replies, which are notices to a client that reads nothing, it is
  /// aborted. Larger than any report of losses.
  std::size_t unread_bytes_max = 32u << 20;
  /// With more ranges of losses to report, a client is disconnected ("slow_consumer").
  std::size_t loss_ranges_max = 100'000;
};

/// One client of an engine. Lives on its shard's thread; every method is called there. Owns its stream, its
/// handler and its replies; messages stay in the log. Its shard destroys it, in a flush() once it is
/// closed().
class Client final : private TimerWheel::Timer {
 public:
  using Clock = TimerWheel::Clock;

  /// `shard` outlives it.
  Client(ClientId id, std::unique_ptr<Stream> stream, Shard& shard);
  ~Client() override;
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  [[nodiscard]] ClientId id() const noexcept { return id_; }

  // For its handler. Nothing is written before the shard's next flush().

  /// Queues bytes for this client alone, behind all messages that are queued for it. Replies are never
  /// dropped: a client with more than unread_bytes_max of them is aborted.
  void reply(std::string_view bytes);
  void set_policy(Policy policy) noexcept { policy_ = policy; }
  /// Calls Handler::on_replies_drained() once, in a later flush(), when at most replies_bytes_low of the
  /// replies are unwritten. Long replies are made in slices this way, as fast as the client reads; slices of
  /// 64 KiB to 256 KiB keep the client busy.
  void notify_when_drained() noexcept;
  /// While a client is exempt, because it only listens, neither first_byte_timeout nor idle_timeout applies.
  /// Ending the exemption restarts the timeout.
  void exempt_from_timeouts(bool exempt) noexcept;
  /// While input is paused, nothing is read from the client: the protocol cannot accept more.
  void pause_input(bool paused) noexcept;
  /// From now on, calls Handler::rewrite() for each message before it is written; earlier messages that are
  /// not written yet are included. Until then, messages wait in the backlog, within its limit and by its
  /// policy. Replies no longer wait for the messages before them, and messages that still wait at end() are
  /// not written. Survives a switch of the handler.
  void rewrite_messages() noexcept {
    rewriting_ = true;
    backlog_.begin_rewriting();
  }
  /// The handler can take a message again.
  void continue_rewriting() noexcept {
    if (rewriting_ && !blocked_) mark_changed();
  }
  /// Calls Handler::on_alarm() once at that time, and no longer at a time that was set before. Switching the
  /// handler cancels the alarm.
  void set_alarm(Clock::time_point at);
  void cancel_alarm() noexcept;
  /// When this turn of its shard began.
  [[nodiscard]] Clock::time_point now() const noexcept;
  /// When anything was last received or written.
  [[nodiscard]] Clock::time_point active_at() const noexcept { return active_at_; }
  /// Queues `last_words`, accepts no more input or messages, and closes when everything queued is written.
  void end(std::string_view last_words);
  /// Replaces the handler. The new one receives `rest`, unless it is empty, and all later input. The old one
  /// may call this from any of its functions: it is destroyed when that function has returned. Not again
  /// before that.
  void switch_handler(std::unique_ptr<Handler> handler, std::string_view rest);
  /// Neither end() nor abort() was called, and the connection has not failed.
  [[nodiscard]] bool open() const noexcept { return state_ == State::open; }
  [[nodiscard]] bool input_ended() const noexcept { return input_ended_; }
  /// Whether the connection uses TLS. Decided before the handler gets the first byte.
  [[nodiscard]] bool is_encrypted() const noexcept { return stream_->is_encrypted(); }
  /// The common name in the client's certificate, which has been verified; empty: none. Known before the
  /// handler gets the first byte.
  [[nodiscard]] std::string_view peer_certificate_name() const noexcept {
    return stream_->peer_certificate_name();
  }
  [[nodiscard]] const Backlog& backlog() const noexcept { return backlog_; }
  [[nodiscard]] Handler& handler() noexcept { return *handler_; }
  /// Closes the connection at once; everything queued is lost.
  void abort() noexcept;

  // For its shard.

  void set_handler(std::unique_ptr<Handler> handler) noexcept { handler_ = std::move(handler); }
  /// Queues messages of the log, except those that it already got through another audience.
  void enqueue(Segment& segment, std::uint32_t first, std::uint32_t last);
  /// The same for a throttled audience: a message at once, then the latest of its topic once per interval.
  void enqueue_throttled(AudienceId audience, std::chrono::milliseconds interval, Segment& segment,
                         std::uint32_t first, std::uint32_t last);
  /// Drops queued and buffered messages with a number below `position`, and unpins their segments.
  void evict(std::uint64_t position);
  /// The audiences of which it is a member. The shard maintains them.
  [[nodiscard]] AudienceTable& audiences() noexcept { return audiences_; }

  // For its shard, while it catches up: see CatchUp.

  void begin_buffering(AudienceId audience);
  [[nodiscard]] bool is_buffering(AudienceId audience) const noexcept {
    return catch_up_ && catch_up_->is_buffering(audience);
  }
  void buffer(AudienceId audience, Segment& segment, std::uint32_t first, std::uint32_t last);
  /// @param throttled the audience has an interval
  void release_join_buffer(AudienceId audience, bool throttled, SkipPtr skip);
  void transfer_skips(AudienceId from, AudienceId to) {
    if (catch_up_) catch_up_->transfer_skips(from, to);
  }
  void end_skips();
  [[nodiscard]] bool has_skips() const noexcept { return catch_up_ && catch_up_->has_skips(); }
  [[nodiscard]] bool has_past_skips() const noexcept { return catch_up_ && catch_up_->has_past_skips(); }
  /// Skips a late message (one behind a later message of its stream) if the client has it from a replay.
  /// @returns whether it has
  bool skip_late(const Segment& segment, std::uint32_t index);
  /// It is no member of the audience any longer: discards what only that audience has for it.
  void on_leave(AudienceId audience);

  // For its stream.

  /// While it is connecting, its stream reads for itself and writes nothing, and no timeout of the client
  /// applies: the stream has its own.
  void set_connecting(bool connecting) noexcept { connecting_ = connecting; }
  /// The stream can now write.
  void on_connected() {
    connecting_ = false;
    on_writable();
  }

  // For its worker and its shard.

  void on_readable();
  void on_writable();
  /// Writes what is queued, in one gathered write, and reads input that had to wait.
  void flush(Clock::time_point now);
  /// It is over; the shard destroys it in the flush() after.
  [[nodiscard]] bool closed() const noexcept { return state_ == State::closed; }

 private:
  enum class State : std::uint8_t { open, ending, output_ended, closed };
  class Alarm;
  /// The handler before the switch, and bytes that the new handler has yet to receive.
  struct HandlerSwitch {
    std::unique_ptr<Handler> before;
    std::string rest;
  };

  [[nodiscard]] DeliveryLedger& ledger() noexcept;
  /// Runs change(), which adds messages to the backlog or takes some from it, and keeps the ledger's
  /// `pending` right. Not within another change.
  template <class Change>
  auto update_pending(Change&& change);
  void on_time(Clock::time_point now) override;
  [[nodiscard]] bool wants_input() const noexcept;
  void mark_queued();
  void mark_changed() noexcept;
  void defer();
  void rewrite();
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
  void note_written(std::size_t bytes);
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
  std::unique_ptr<HandlerSwitch> switch_;  ///< only until the call in which the handler was switched returns
  AudienceTable audiences_;
  std::unique_ptr<CatchUp> catch_up_;     ///< only while it catches up
  std::unique_ptr<Throttles> throttles_;  ///< from the first throttled message on
  Clock::time_point active_at_{};
  std::uint64_t claimed_until_{};  ///< number of the message after the last that was claimed
  std::uint64_t in_stream_{};      ///< messages that the stream has accepted and not sent yet; pending
  State state_{State::open};
  Policy policy_{Policy::gap};
  bool dirty_{};     ///< its shard will flush it
  bool unsent_{};    ///< counted in ShardCounters::unsent_clients
  bool blocked_{};   ///< the stream accepts no more until on_writable()
  bool readable_{};  ///< the stream may have more input
  bool connecting_{};
  bool stream_keeps_{};  ///< the stream has accepted bytes that are not sent yet
  bool input_paused_{};
  bool input_ended_{};
  bool has_received_{};
  bool lingering_{};  ///< it is ending, and the timer will close it
  bool notify_drained_{};
  bool rewriting_{};
  bool handler_waits_{};  ///< the handler has left a message
};

}  // namespace backplane::fanout
