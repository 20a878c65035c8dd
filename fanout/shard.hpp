#pragma once
// The clients of one worker, and who of them gets what.

#include <atomic>
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
#include <vector>

#include "fanout/client.hpp"
#include "fanout/log/log.hpp"
#include "fanout/mailbox.hpp"
#include "fanout/skip.hpp"
#include "fanout/span_queue.hpp"
#include "fanout/timer_wheel.hpp"

namespace backplane::fanout {

/// Changed by one thread, read by any.
class Counter {
 public:
  void add(std::uint64_t count) noexcept {
    value_.store(value_.load(std::memory_order_relaxed) + count, std::memory_order_relaxed);
  }
  void subtract(std::uint64_t count) noexcept { add(0 - count); }
  [[nodiscard]] std::uint64_t get() const noexcept { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

/// Messages, counted once a client that is given them: matched = delivered + conflated + dropped + abandoned
/// + pending, and a worker that has nothing to write and nothing held has none pending.
struct ShardCounters {
  Counter matched;    ///< given to clients
  Counter delivered;  ///< written to the last byte, or (`every`) made a client's next reply
  Counter conflated;  ///< superseded by a newer one of the topic, as the client asked for it
  Counter dropped;    ///< the backlog was full: announced
  Counter abandoned;  ///< queued when their client ended, or held when it left the audience
  Counter skipped;    ///< not given, as the client had them by another way: not among the matched
  Counter holds_lost;
  Counter silent;  ///< clients that first_byte_timeout or idle_timeout sent away
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
  /// How long a client that ends may take to get what is queued and to be closed by its other side.
  std::chrono::milliseconds linger{1000};
};

/// Clients, audiences and routes of one worker, and how far it has read the log. Lives on one thread, but
/// for put_commands() and counters(); owns the clients. It does no waiting: in a test, or a Worker, turns
/// are
///     hand streams' readiness to the clients; catch_up(); flush();
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

  // The shard's thread.

  Client& add(ClientId id, std::unique_ptr<Stream> stream);
  /// @returns nullptr where it has gone.
  [[nodiscard]] Client* find(ClientId id) noexcept;
  /// Messages of `route` go to these from now on.
  void set_route(RouteId route, std::vector<AudienceId> audiences);
  /// Members get a message at once (0, the default), or the latest of each topic once an interval.
  void set_interval(AudienceId audience, std::chrono::milliseconds interval);
  // See Engine.
  void join(ClientId client, AudienceId audience);
  void join_held(ClientId client, AudienceId audience);
  void release(ClientId client, AudienceId audience, SkipPtr skip);
  void leave(ClientId client, AudienceId audience);
  void say_goodbye(std::string_view reason);

  /// Whether catch_up() has anything to do. Sequentially consistent with publish() and put_commands().
  [[nodiscard]] bool is_behind() const noexcept {
    return log_.published() != reader_.position() || !inbox_.empty() || log_.evicted() != evicted_;
  }
  /// Does what the owner wants and queues what is published.
  void catch_up(Clock::time_point now);
  /// Calls timers, writes what is queued, one gathered write a client, and destroys clients that are over.
  void flush(Clock::time_point now);
  /// Whether another flush() has something to do at once.
  [[nodiscard]] bool is_dirty() const noexcept { return !dirty_.empty(); }
  [[nodiscard]] Clock::time_point next_deadline() const noexcept { return timers_.next(); }

  /// Clients that flush() has destroyed; whoever is told of them empties it.
  [[nodiscard]] std::vector<ClientId>& departed() noexcept { return departed_; }

  // For clients.
  [[nodiscard]] LogReader& reader() noexcept { return reader_; }
  [[nodiscard]] SpanPool& pool() noexcept { return pool_; }
  [[nodiscard]] ShardCounters& counters() noexcept { return counters_; }
  [[nodiscard]] const ClientLimits& limits() const noexcept { return options_.client; }
  [[nodiscard]] const ShardOptions& options() const noexcept { return options_; }
  [[nodiscard]] std::chrono::milliseconds interval(AudienceId audience) const noexcept {
    return audiences_[static_cast<std::size_t>(audience)].interval;
  }
  [[nodiscard]] bool gives(RouteId route, AudienceId audience) const noexcept;
  /// No message to come is in `skip`.
  [[nodiscard]] bool has_passed(const Skip& skip) const noexcept;
  /// Calls Client::end_skips() after each catch_up() until it returns true.
  void note_skips(Client& client) { skipping_.push_back(&client); }
  [[nodiscard]] TimerWheel& timers() noexcept { return timers_; }
  /// When this turn began.
  [[nodiscard]] Clock::time_point now() const noexcept { return now_; }
  [[nodiscard]] Gather& gather() noexcept { return gather_; }
  [[nodiscard]] TopicTable& newest() noexcept { return newest_; }
  [[nodiscard]] std::string& report() noexcept { return report_; }
  void mark_dirty(Client& client) { dirty_.push_back(&client); }
  void note_send(std::size_t bytes) noexcept {
    counters_.sends.add(1);
    counters_.sent_bytes.add(bytes);
  }

 private:
  struct Audience {
    std::vector<Client*> members;  ///< those that are given its messages, then those that are held
    std::uint32_t given{};         ///< how many
    std::chrono::duration<std::uint32_t, std::milli> interval{0};
  };

  Audience& audience(AudienceId id);
  static void swap_members(AudienceId id, Audience& of, std::uint32_t one, std::uint32_t other);
  void add_member(AudienceId id, Client& client, bool held);
  static void remove_member(AudienceId id, Audience& from, std::uint32_t place);
  void deliver(Segment& segment, std::uint32_t first, std::uint32_t last);
  void evict();
  void let_go(Client& client);

  const ShardOptions options_;
  ShardCounters counters_;
  Log& log_;
  LogReader reader_;
  SpanPool pool_;
  TimerWheel timers_;
  Gather gather_;
  TopicTable newest_;
  std::string report_;
  Clock::time_point now_;
  std::uint64_t evicted_{};
  std::vector<Audience> audiences_;              // by id
  std::vector<std::vector<AudienceId>> routes_;  // by id
  std::vector<std::uint64_t> reached_;           // position, by stream
  std::vector<Client*> skipping_;
  std::vector<ClientId> departed_;
  std::vector<Client*> dirty_;
  std::vector<Client*> flushing_;
  Mailbox<Command> inbox_;
  std::deque<Command> commands_;  // taken, and not yet due
  std::unordered_map<ClientId, std::unique_ptr<Client>> clients_;
};

}  // namespace backplane::fanout
