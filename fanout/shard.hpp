#pragma once
// The clients of one worker, their audiences, and what they get.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "fanout/catch_up.hpp"
#include "fanout/client.hpp"
#include "fanout/counter.hpp"
#include "fanout/delivery_ledger.hpp"
#include "fanout/log/log.hpp"
#include "fanout/mailbox.hpp"
#include "fanout/routes.hpp"
#include "fanout/skip.hpp"
#include "fanout/small_vector.hpp"
#include "fanout/span_queue.hpp"
#include "fanout/stream_progress.hpp"
#include "fanout/timer_wheel.hpp"

namespace backplane::fanout {

struct ShardCounters {
  Counter join_buffers_full;
  Counter replies_unread;  ///< clients disconnected or aborted for their unwritten replies
  Counter timed_out;       ///< clients disconnected by first_byte_timeout or idle_timeout
  Counter sends;
  Counter sent_bytes;
  Counter commands;        ///< from the owner
  Counter clients;         ///< now
  Counter unsent_clients;  ///< now: those with something to write
};

struct ShardOptions {
  ClientLimits client;
  std::chrono::milliseconds first_byte_timeout{0};  ///< 0: no timeout
  std::chrono::milliseconds idle_timeout{0};        ///< since anything was received or written; 0: no timeout
  /// For the replies of all open clients. Above it, the client that has most of them is disconnected.
  std::size_t replies_total_bytes_max = std::size_t{1} << 30;
  /// When a client ends, this is the limit for writing what is queued and for the peer to close.
  std::chrono::milliseconds linger{1000};
};

/// The clients, audiences and routes of one worker, and its position in the log. Lives on one thread, except
/// put_commands(), counters() and published_ledger(). Owns the clients. It never waits: a Worker or a test
/// calls, in each turn,
///     on_readable() and on_writable() of clients whose streams are ready; read_log(); flush().
class Shard {
 public:
  using Clock = TimerWheel::Clock;

  /// A call by the owner, which takes effect between two messages.
  struct Command {
    std::uint64_t at;  ///< after all messages with a lower number, and before the others
    std::function<void(Shard&)> run;
  };

  /// @param index this shard's among the log's readers
  Shard(ShardOptions options, Log& log, std::size_t index, Clock::time_point now);
  ~Shard();
  Shard(const Shard&) = delete;
  Shard& operator=(const Shard&) = delete;

  // The owner's thread.

  /// Hands over commands, in order, and empties `commands`. Must be called before the log publishes messages
  /// that were appended after them.
  void put_commands(std::vector<Command>& commands) { inbox_.put_all(commands); }

  // Any thread.

  [[nodiscard]] const ShardCounters& counters() const noexcept { return counters_; }
  /// The ledger as of the last publish_ledger().
  [[nodiscard]] DeliveryLedger published_ledger() const noexcept { return published_ledger_.read(); }

  // The shard's thread: commands.

  Client& add(ClientId id, std::unique_ptr<Stream> stream);
  /// @returns nullptr if the client is closed.
  [[nodiscard]] Client* find(ClientId id) noexcept;
  // See Engine.
  void set_route(RouteId route, const std::vector<AudienceId>& audiences);
  void set_interval(AudienceId audience, std::chrono::milliseconds interval);
  void join(ClientId client, AudienceId audience);
  void join_buffered(ClientId client, AudienceId audience);
  void release_join_buffer(ClientId client, AudienceId audience, SkipPtr skip);
  void transfer_skips(ClientId client, AudienceId from, AudienceId to);
  void leave(ClientId client, AudienceId audience);
  void advance_low_watermark(StreamId stream, std::uint64_t position);
  void say_goodbye(std::string_view reason);

  // The shard's thread: turns.

  /// Whether read_log() has something to do. Sequentially consistent with publish() and put_commands().
  [[nodiscard]] bool is_behind() const noexcept {
    return log_.published() != reader_.position() || !inbox_.empty() || commands_left_ ||
           log_.evicted() != evicted_;
  }
  /// Runs the owner's commands, and enqueues what is published for the clients. If there are many commands,
  /// only those for which command_time_per_turn is enough: the next call continues with the others, and with
  /// the messages behind them.
  void read_log(Clock::time_point now);
  /// Whether read_log() has left commands for its next call.
  [[nodiscard]] bool has_commands_left() const noexcept { return commands_left_; }
  /// What is queued must not wait until a flood of commands has been run.
  static constexpr std::chrono::microseconds command_time_per_turn{500};
  static constexpr std::uint32_t commands_per_look = 64;  ///< at the clock; so many are always run
  /// Calls timers, writes what is queued, in one gathered write per client, and destroys closed clients.
  void flush(Clock::time_point now);
  /// Whether flush() has something to do at once.
  [[nodiscard]] bool is_dirty() const noexcept { return !dirty_.empty() || !deferred_.empty(); }
  /// From here on until flush(), and again in flush(), clients may read for this long: messages must not wait
  /// until many clients that send without a pause have been read. The others are read in the next turn,
  /// first: while there are any, all clients wait for flush(), which reads them in the order in which they
  /// had something to read.
  static constexpr std::chrono::microseconds input_time_per_turn{500};
  void begin_input() noexcept {
    input_until_ = deferred_.empty() ? Clock::now() + input_time_per_turn : Clock::time_point::min();
  }
  [[nodiscard]] Clock::time_point next_deadline() const noexcept { return timers_.next(); }
  /// At the end of a turn, when the ledger adds up.
  void publish_ledger() noexcept { published_ledger_.publish(ledger_); }
  /// Clients that flush() has destroyed; the caller empties it.
  [[nodiscard]] std::vector<ClientId>& closed_clients() noexcept { return closed_clients_; }

  // For clients.

  [[nodiscard]] LogReader& reader() noexcept { return reader_; }
  [[nodiscard]] SpanPool& pool() noexcept { return pool_; }
  [[nodiscard]] ShardCounters& counters() noexcept { return counters_; }
  [[nodiscard]] DeliveryLedger& ledger() noexcept { return ledger_; }
  [[nodiscard]] const ClientLimits& limits() const noexcept { return options_.client; }
  [[nodiscard]] const ShardOptions& options() const noexcept { return options_; }
  [[nodiscard]] std::chrono::milliseconds interval(AudienceId audience) const noexcept {
    return audiences_[static_cast<std::size_t>(audience)].interval;
  }
  [[nodiscard]] const CatchUp::Context& catch_up_context() const noexcept { return catch_up_context_; }
  [[nodiscard]] TimerWheel& timers() noexcept { return timers_; }
  /// When this turn began.
  [[nodiscard]] Clock::time_point now() const noexcept { return now_; }
  // Scratch memory for one call.
  [[nodiscard]] Gather& gather() noexcept { return gather_; }
  [[nodiscard]] TopicTable& newest() noexcept { return newest_; }
  [[nodiscard]] std::string& report() noexcept { return report_; }
  /// @param more bytes of replies than before; fewer modulo 2^64
  void count_replies(std::size_t more) noexcept { reply_bytes_ += more; }
  /// Disconnects the client with most replies if all replies together exceed their limit.
  void bound_replies();
  /// The client will be flushed.
  void mark_dirty(Client& client) { dirty_.push_back(&client); }
  /// Whether a client may read now, see begin_input().
  [[nodiscard]] bool may_read() const noexcept { return Clock::now() < input_until_; }
  /// flush() begins with this client in the next turn.
  void defer(Client& client) { deferred_.push_back(&client); }
  void note_send(std::size_t bytes) noexcept {
    counters_.sends.add(1);
    counters_.sent_bytes.add(bytes);
  }

 private:
  /// Two of them fill a cache line, and none crosses into another.
  struct alignas(32) Audience {
    SmallVector<Client*> members;  ///< first the active ones, then those that are buffering
    std::uint32_t active{};        ///< how many are active
    std::chrono::duration<std::uint32_t, std::milli> interval{0};
  };

  Audience& audience(AudienceId id);
  static void swap_members(AudienceId id, Audience& of, std::uint32_t one, std::uint32_t other);
  void add_member(AudienceId id, Client& client, bool buffered);
  static void remove_member(AudienceId id, Audience& from, std::uint32_t place);
  void fetch_ahead(const Segment& segment, std::uint32_t next, std::uint32_t end) const noexcept;
  void dispatch(Segment& segment, std::uint32_t first, std::uint32_t last);
  template <class OnRun>
  [[nodiscard]] bool run_commands(std::uint64_t end, const OnRun& on_run);
  bool note_position(const Segment& segment, std::uint32_t index) {
    return progress_.note(segment.stream(index), segment.position(index));
  }
  void dispatch_run(Segment& segment, std::uint32_t first, std::uint32_t last, bool late);
  void end_skips();
  void evict();
  void remove(Client& client);

  const ShardOptions options_;
  ShardCounters counters_;
  DeliveryLedger ledger_;
  PublishedDeliveryLedger published_ledger_;
  Log& log_;
  LogReader reader_;
  SpanPool pool_;
  TimerWheel timers_;
  Gather gather_;
  TopicTable newest_;
  std::string report_;
  Clock::time_point now_;
  std::uint64_t evicted_{};
  std::vector<Audience> audiences_;  // by id
  Routes routes_;
  StreamProgress progress_;
  const CatchUp::Context catch_up_context_;
  // Clients with skips that apply to all messages, and with skips that apply to late ones.
  std::unordered_set<Client*> skipping_;
  std::unordered_set<Client*> past_skipping_;
  std::size_t reply_bytes_{};
  std::vector<ClientId> closed_clients_;
  std::vector<Client*> dirty_;
  std::vector<Client*> deferred_;  // not in dirty_: they come before those that have been read in this turn
  Clock::time_point input_until_{Clock::time_point::max()};
  std::vector<Client*> flushing_;
  Mailbox<Command> inbox_;
  std::deque<Command> commands_;  // taken from the inbox, not yet run
  bool commands_left_{};          // some of them are due
  std::unordered_map<ClientId, Client> clients_;
};

}  // namespace backplane::fanout
