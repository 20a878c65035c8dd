#pragma once
// The fan-out engine: one thread writes messages, any number of clients receive them.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/process/descriptor.hpp"
#include "fanout/client.hpp"
#include "fanout/closed_clients.hpp"
#include "fanout/delivery_ledger.hpp"
#include "fanout/log/ids.hpp"
#include "fanout/log/log.hpp"
#include "fanout/skip.hpp"
#include "fanout/worker.hpp"

namespace backplane::fanout {

struct EngineOptions {
  std::size_t workers = 1;
  WorkerOptions worker;
  /// LogOptions::bytes_max bounds what all backlogs and join buffers together pin.
  LogOptions log;
};

/// Sums over all workers: see DeliveryLedger and ShardCounters.
struct EngineCounters : DeliveryLedger {
  std::uint64_t join_buffers_full{};
  std::uint64_t replies_unread{};
  std::uint64_t timed_out{};
  std::uint64_t sends{};
  std::uint64_t sent_bytes{};
  std::uint64_t commands{};
  std::uint64_t clients{};
  std::uint64_t unsent_clients{};
  TlsCounters tls{};
};

/// Writes each message once, into a log; worker threads write it from there to any number of clients. It does
/// not know what messages mean: a message has a route, a route is a set of audiences, an audience is a set of
/// clients, and a client gets a message once. Owns the log, the workers and the clients. One thread, the
/// owner's, calls everything except counters(). Only the destructor blocks. Calls take effect at the next
/// publish(), in the order in which they were made, between the messages that were appended before and after
/// them.
///
/// A Client and its Handler live on a worker's thread; post() runs a task there. A handler reaches the owner
/// through a Mailbox that the owner reads.
class Engine {
 public:
  /// Throws std::system_error if the kernel refuses descriptors or threads.
  explicit Engine(const EngineOptions& options);
  /// Closes all clients at once; everything queued is lost.
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  /// Takes over a connected, non-blocking socket. `make` is called once, on the client's worker.
  ClientId adopt(Descriptor socket, MakeHandler make);
  /// Uses these certificates for new connections; earlier ones keep theirs. Only if the options contain some.
  void set_tls_context(const std::shared_ptr<const TlsContext>& context);
  /// Runs `task` on the client's worker, unless the client is closed by then.
  void post(ClientId client, std::function<void(Client&)> task);
  /// Calls Client::reply() on the client's worker.
  void reply(ClientId client, std::string bytes);
  /// Calls Handler::say_goodbye() of each client.
  void say_goodbye(std::string_view reason);

  /// From the next message on, messages of `route` go to these audiences and to no others.
  void set_route(RouteId route, std::vector<AudienceId> audiences);
  /// Throttles the audience: its members get the first message of each topic at once, then the latest one per
  /// interval, if there is a newer one. 0, the default: all messages at once. To be set before a client
  /// joins.
  void set_interval(AudienceId audience, std::chrono::milliseconds interval);
  /// When a client is closed, it leaves all audiences.
  void join(ClientId client, AudienceId audience);
  void leave(ClientId client, AudienceId audience);
  /// The same as join(), but messages of the audience wait in a join buffer for this client until
  /// release_join_buffer(). Meanwhile the owner can reply with what came before them. Messages still come
  /// through other audiences, and those do not wait. The order within a topic is kept: behind a buffered
  /// message, the topic's next ones wait as well, whichever audience they come through. If the client is a
  /// member already, its messages wait from now on.
  ///
  /// A client's join buffers have at most ClientLimits::backlog_bytes_max in all. Above it, or if the log may
  /// not be pinned any longer (LogOptions::bytes_max), the client leaves the audience, the buffered messages
  /// are discarded, and Handler::on_join_buffer_full() is called. A replay to a slow reader should therefore
  /// call this only when it has nearly caught up; if the join buffer becomes full, it continues and tries
  /// again.
  void join_buffered(ClientId client, AudienceId audience);
  /// Enqueues the buffered messages, in the order of the log, and from now on those that come, except those
  /// that `skip` contains. They are skipped until its streams have come as far as it reaches, so that a
  /// replay that ran ahead of the log causes no duplicates; late messages are skipped until
  /// advance_low_watermark(). leave() ends the skip. Does nothing if the audience has no join buffer for this
  /// client.
  void release_join_buffer(ClientId client, AudienceId audience, SkipPtr skip = nullptr);

  /// The client moves from one audience to another that gets the same messages (in another format): what
  /// release_join_buffer() made the engine skip for `from` is skipped for `to`. Call it between join(to) and
  /// leave(from).
  void transfer_skips(ClientId client, AudienceId from, AudienceId to);

  /// No message of `stream` with at most this position will be appended any more, not even late: skips that
  /// detect such duplicates end. A later call may set a lower position.
  void advance_low_watermark(StreamId stream, std::uint64_t position);

  /// Appends a copy of the message, which has 1 to Log::message_bytes_max bytes.
  void append(std::string_view bytes, const MessageInfo& info) { log_.append(bytes, info); }
  /// Makes all earlier calls take effect. Call it once for several messages: it may wake the workers.
  void publish();
  /// Whether a worker has so many commands to run that messages wait noticeably for those before them. The
  /// owner should then put off what causes more.
  [[nodiscard]] bool is_congested() const noexcept;
  /// About a millisecond of a worker's time.
  static constexpr std::uint64_t commands_waiting_max = 1000;

  /// Clients that were closed since the last call, each once: the handler is destroyed and the socket is
  /// closed. Calls for them do nothing.
  [[nodiscard]] std::vector<ClientId> take_closed_clients() { return closed_clients_.take(); }
  /// Readable while take_closed_clients() has something to return. The engine's: to be polled, not read.
  [[nodiscard]] int closed_clients_fd() const noexcept { return closed_clients_.fd(); }

  /// Any thread. The ledger adds up, because each worker publishes its own at the end of a turn. The other
  /// counters are of slightly different moments while workers are busy.
  [[nodiscard]] EngineCounters counters() const;
  /// CPU time of all workers so far.
  [[nodiscard]] std::chrono::nanoseconds cpu_time() const;
  /// Bytes of the log's segments in use.
  [[nodiscard]] std::size_t log_bytes() const noexcept { return log_.bytes_in_use(); }

 private:
  struct WorkerSlot {
    std::unique_ptr<Worker> worker;
    std::vector<Shard::Command> commands;  ///< since the last publish()
    std::uint64_t commanded{};             ///< number of all commands
  };

  void command(WorkerSlot& slot, std::function<void(Shard&)> run);
  void command_all(const std::function<void(Shard&)>& run);
  WorkerSlot& slot_of(ClientId client) { return slots_[static_cast<std::size_t>(client) % slots_.size()]; }

  // These outlive the workers.
  Log log_;
  ClosedClients closed_clients_;
  std::vector<WorkerSlot> slots_;
  std::uint64_t last_client_{};
};

}  // namespace backplane::fanout
