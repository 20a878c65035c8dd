#pragma once
// One thread of an engine.

#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <thread>

#include "core/process/descriptor.hpp"
#include "fanout/closed_clients.hpp"
#include "fanout/flush_window.hpp"
#include "fanout/shard.hpp"
#include "fanout/tls_connections.hpp"
#include "fanout/waker.hpp"

namespace backplane::fanout {

struct WorkerOptions {
  ShardOptions shard;
  std::chrono::microseconds flush_window{2000};  ///< how long events may wait for more under load
  /// What the kernel may buffer unsent for one client. A stalled client would otherwise occupy megabytes
  /// there.
  int unsent_bytes_max = 64 << 10;
  TlsOptions tls;
};

/// Creates the handler of a client. Called on the client's worker.
using MakeHandler = std::function<std::unique_ptr<Handler>(Client&)>;

/// A shard with a thread, an epoll for its sockets and an eventfd to wake it. Owns all of them.
class Worker {
 public:
  using Clock = Shard::Clock;

  /// Throws std::system_error if the kernel refuses an epoll or an eventfd. `log` and `closed_clients`
  /// outlive it.
  /// @param index this worker's, from 0 on
  Worker(WorkerOptions options, Log& log, ClosedClients& closed_clients, std::size_t index);
  /// Stops and joins the thread; everything queued is lost.
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  void start();

  // The owner's thread.

  /// Wakes the worker's thread, after something was published or put.
  void wake() noexcept { waker_.wake(); }
  [[nodiscard]] Shard& shard() noexcept { return shard_; }
  [[nodiscard]] const Shard& shard() const noexcept { return shard_; }
  /// Adds the counts of TLS connections to `sum`.
  void add_counters(TlsCounters& sum) const noexcept {
    if (tls_) tls_->add_counters(sum);
  }
  /// CPU time of the thread; 0 before start().
  [[nodiscard]] std::chrono::nanoseconds cpu_time() const;

  // The worker's thread, from a command.

  /// Takes over a connected socket.
  void add(ClientId id, Descriptor socket, const MakeHandler& make);
  /// For new connections. Only if there is a context already.
  void set_tls_context(std::shared_ptr<const TlsContext> context);

 private:
  void run();
  void wait(Clock::time_point now);
  void continue_handshakes();
  void turn();

  const WorkerOptions options_;
  ClosedClients& closed_clients_;
  std::unique_ptr<TlsConnections> tls_;  ///< used by the shard's clients; nullptr: without TLS
  Shard shard_;
  Waker waker_;
  Descriptor epoll_;
  FlushWindow window_;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace backplane::fanout
