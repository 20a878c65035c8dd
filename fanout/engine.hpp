#pragma once
// Many clients, and one thread that has something for them.

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
  /// LogOptions::bytes_max bounds what all clients together keep from being forgotten.
  LogOptions log;
};

/// See DeliveryLedger and ShardCounters, which they are the sums of.
struct EngineCounters : DeliveryLedger {
  std::uint64_t join_buffers_full{};
  std::uint64_t replies_unread{};
  std::uint64_t timed_out{};
  std::uint64_t sends{};
  std::uint64_t sent_bytes{};
  std::uint64_t commands{};
  std::uint64_t clients{};
  std::uint64_t unsent_clients{};
};

/// Writes each message once, into a log, and from there to any number of clients on some worker threads.
/// It knows nothing of what messages mean: each has a route, a route is some audiences, an audience some
/// clients; a client gets a message once. Owns log, workers and clients. One thread, its owner's, calls
/// all but counters(); nothing blocks but the destructor. All calls take effect in the order in which they
/// were made, between the messages that were appended before and after them, and not before publish().
///
/// A client's own side, Handler and Client, lives on its worker's thread: post() goes there. What a
/// handler has for the owner it puts into a Mailbox of the owner's.
class Engine {
 public:
  /// Throws std::system_error where the kernel refuses descriptors or threads.
  explicit Engine(EngineOptions options);
  /// Ends all clients at once; what is queued is lost.
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  /// Takes over a connected, non-blocking socket. `make` is called once, on the client's worker.
  ClientId adopt(Descriptor socket, MakeHandler make);
  /// Runs `task` on the client's worker, unless it has gone.
  void post(ClientId client, std::function<void(Client&)> task);
  /// Client::reply(), from here.
  void reply(ClientId client, std::string bytes);
  /// Has each client say goodbye.
  void say_goodbye(std::string_view reason);

  /// Messages of `route` go to these audiences, and to no others, from the next message on.
  void set_route(RouteId route, std::vector<AudienceId> audiences);
  /// Members get messages at once (0, the default), or one at once and then the latest of each topic once
  /// an interval, where there is a new one. Before anybody joins.
  void set_interval(AudienceId audience, std::chrono::milliseconds interval);
  /// A client that has gone has left all audiences.
  void join(ClientId client, AudienceId audience);
  void leave(ClientId client, AudienceId audience);
  /// The same as join(), but messages of the audience are kept aside for this client until release(): time
  /// to reply with what came before them. Other audiences go on giving; a message that one of them gives
  /// is not kept. The order within a topic holds: behind a message that is kept aside, the topic's next
  /// ones wait for it, whichever audience gives them. A member that was not held is from now on.
  ///
  /// At most ClientLimits::backlog_bytes_max are kept for a client. Above it, or where the log may not be
  /// held any longer (LogOptions::bytes_max), the client leaves the audience, what was kept is forgotten,
  /// and Handler::on_join_buffer_full() says so. Who replays to a slow reader thus does best to hold only
  /// when the replay has nearly caught up, and where that is lost to replay on and hold again.
  void join_buffered(ClientId client, AudienceId audience);
  /// Gives what was kept aside, in the order of the log, and from now on what comes, but for what `skip`
  /// has. That goes on until its streams have come as far as it reaches, so a replay that ran ahead of the
  /// log makes no duplicates either, and for what comes late until advance_low_watermark(); leave() ends it.
  /// Nothing happens where the audience is not held.
  void release_join_buffer(ClientId client, AudienceId audience, SkipPtr skip = nullptr);

  /// No message of `stream` comes any more that has at most this position, not even late: what was kept to
  /// tell such a one from a duplicate is forgotten. A later call may take some of it back.
  void advance_low_watermark(StreamId stream, std::uint64_t position);

  /// Copies the message, of at least one byte and at most Log::message_bytes_max.
  void append(std::string_view bytes, const MessageInfo& info) { log_.append(bytes, info); }
  /// Makes all of the above happen. Best after some messages rather than each: it may wake the workers.
  void publish();

  /// Clients that are over since the last call, each once: their handlers are destroyed, their sockets
  /// closed, and what is asked of them does nothing.
  [[nodiscard]] std::vector<ClientId> take_closed_clients() { return closed_clients_.take(); }
  /// Readable while take_closed_clients() has something to give. The engine's; to be watched, not read.
  [[nodiscard]] int closed_clients_fd() const noexcept { return closed_clients_.fd(); }

  /// Any thread's. The ledger adds up, as each worker's are of the end of a turn of its; all else is of
  /// slightly different moments while workers are at work.
  [[nodiscard]] EngineCounters counters() const;
  /// CPU time of all workers.
  [[nodiscard]] std::chrono::nanoseconds cpu_time() const;
  [[nodiscard]] std::size_t log_bytes() const noexcept { return log_.bytes_in_use(); }

 private:
  struct WorkerSlot {
    std::unique_ptr<Worker> worker;
    std::vector<Shard::Command> commands;  ///< since the last publish()
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
