#pragma once
// The clients of one worker, and who of them gets what.

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
  Counter replies_unread;  ///< clients that left too much unread of what they were replied
  Counter timed_out;       ///< clients that first_byte_timeout or idle_timeout sent away
  Counter sends;
  Counter sent_bytes;
  Counter commands;        ///< from the owner
  Counter clients;         ///< now
  Counter unsent_clients;  ///< now: those with something to write
};

struct ShardOptions {
  ClientLimits client;
  std::chrono::milliseconds first_byte_timeout{0};  ///< 0: a client may stay silent for ever
  std::chrono::milliseconds idle_timeout{0};  ///< the same for the time since anything came or was written
  /// Of the replies of all clients that are not ending. Above it, who has most of them is sent away.
  std::size_t replies_total_bytes_max = std::size_t{1} << 30;
  /// How long a client that ends may take to get what is queued and to be closed by its other side.
  std::chrono::milliseconds linger{1000};
};

/// Clients, audiences and routes of one worker, and how far it has read the log. Lives on one thread, but
/// for put_commands() and counters(); owns the clients. It does no waiting: in a test, or a Worker, turns
/// are
///     hand streams' readiness to the clients; read_log(); flush();
class Shard {
 public:
  using Clock = TimerWheel::Clock;

  /// Something that the owner wants done between two messages.
  struct Command {
    std::uint64_t at;  ///< after messages before this number, and before all others
    std::function<void(Shard&)> run;
  };

  /// @param index of the log's readers, this shard's
  Shard(ShardOptions options, Log& log, std::size_t index, Clock::time_point now);
  ~Shard();
  Shard(const Shard&) = delete;
  Shard& operator=(const Shard&) = delete;

  // The owner's thread.

  /// Hands over what is to be done, in order, and empties `commands`. Before the log's publish() of what
  /// was appended before them.
  void put_commands(std::vector<Command>& commands) { inbox_.put_all(commands); }
  /// Any thread.
  [[nodiscard]] const ShardCounters& counters() const noexcept { return counters_; }
  /// Any thread: as they were at the last publish_ledger().
  [[nodiscard]] DeliveryLedger published_ledger() const noexcept { return published_ledger_.read(); }

  // The shard's thread.

  Client& add(ClientId id, std::unique_ptr<Stream> stream);
  /// @returns nullptr where it has gone.
  [[nodiscard]] Client* find(ClientId id) noexcept;
  /// Messages of `route` go to these from now on.
  void set_route(RouteId route, const std::vector<AudienceId>& audiences);
  /// Members get a message at once (0, the default), or the latest of each topic once an interval.
  void set_interval(AudienceId audience, std::chrono::milliseconds interval);
  // See Engine.
  void join(ClientId client, AudienceId audience);
  void join_buffered(ClientId client, AudienceId audience);
  void release_join_buffer(ClientId client, AudienceId audience, SkipPtr skip);
  void leave(ClientId client, AudienceId audience);
  void advance_low_watermark(StreamId stream, std::uint64_t position);
  void say_goodbye(std::string_view reason);

  /// Whether read_log() has anything to do. Sequentially consistent with publish() and put_commands().
  [[nodiscard]] bool is_behind() const noexcept {
    return log_.published() != reader_.position() || !inbox_.empty() || log_.evicted() != evicted_;
  }
  /// Does what the owner wants and queues what is published.
  void read_log(Clock::time_point now);
  /// Calls timers, writes what is queued, one gathered write a client, and destroys clients that are over.
  void flush(Clock::time_point now);
  /// Whether another flush() has something to do at once.
  [[nodiscard]] bool is_dirty() const noexcept { return !dirty_.empty(); }
  [[nodiscard]] Clock::time_point next_deadline() const noexcept { return timers_.next(); }

  /// At the end of a turn, when they add up.
  void publish_ledger() noexcept { published_ledger_.publish(ledger_); }

  /// Clients that flush() has destroyed; whoever is told of them empties it.
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
  [[nodiscard]] Gather& gather() noexcept { return gather_; }
  [[nodiscard]] TopicTable& newest() noexcept { return newest_; }
  [[nodiscard]] std::string& report() noexcept { return report_; }
  void count_replies(std::size_t more) noexcept { reply_bytes_ += more; }  // fewer: modulo 2^64
  void bound_replies();
  void mark_dirty(Client& client) { dirty_.push_back(&client); }
  void note_send(std::size_t bytes) noexcept {
    counters_.sends.add(1);
    counters_.sent_bytes.add(bytes);
  }

 private:
  /// Two a line of memory, and none in two lines.
  struct alignas(32) Audience {
    SmallVector<Client*> members;  ///< those that are given its messages, then those that are held
    std::uint32_t active{};        ///< how many
    std::chrono::duration<std::uint32_t, std::milli> interval{0};
  };

  Audience& audience(AudienceId id);
  static void swap_members(AudienceId id, Audience& of, std::uint32_t one, std::uint32_t other);
  void add_member(AudienceId id, Client& client, bool buffered);
  static void remove_member(AudienceId id, Audience& from, std::uint32_t place);
  void fetch_ahead(const Segment& segment, std::uint32_t next, std::uint32_t end) const noexcept;
  void dispatch(Segment& segment, std::uint32_t first, std::uint32_t last);
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
  // Clients with skips: those that apply to all messages, and to late ones.
  std::unordered_set<Client*> skipping_;
  std::unordered_set<Client*> past_skipping_;
  std::size_t reply_bytes_{};
  std::vector<ClientId> closed_clients_;
  std::vector<Client*> dirty_;
  std::vector<Client*> flushing_;
  Mailbox<Command> inbox_;
  std::deque<Command> commands_;  // taken, and not yet due
  std::unordered_map<ClientId, Client> clients_;
};

}  // namespace backplane::fanout
