#pragma once
// The gateway: connects any number of TCP clients to its backplanes.

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "core/error/error.hpp"
#include "core/policy/policy.hpp"
#include "core/process/exit_code.hpp"
#include "core/process/service_manager.hpp"
#include "core/process/signals.hpp"
#include "fanout/tls/context.hpp"
#include "gateway/config/config.hpp"

namespace backplane::gateway {

/// Builds the gateway's backplanes and runs them on one thread, the upstream thread, which is the caller of
/// run() or serve(). On it live listeners, hubs, followers and publish queues. It never blocks, and never
/// writes to clients: the workers do (see Backplane; docs/architecture.md lists how the threads communicate).
class Gateway {
 public:
  /// Throws std::invalid_argument for invalid endpoints, std::system_error and zmq::error_t if the system
  /// refuses.
  /// @param tls what read_tls() has read
  /// @param policy the content of the file that the configuration names; nullptr: everybody may do everything
  Gateway(GatewayConfig config, const std::shared_ptr<const fanout::TlsContext>& tls,
          std::shared_ptr<const policy::Policy> policy);
  ~Gateway();
  Gateway(const Gateway&) = delete;
  Gateway& operator=(const Gateway&) = delete;

  /// Listens, prints the ready lines on standard output, and serves until `signals` requests a stop. Then
  /// notifies the clients, and sends what is queued for them for up to goodbye_limit. Does not wait for a
  /// broker. If `signals` requests a reload, it reads the certificates again. `manager` is notified of each
  /// step, and that this thread turns, once per second at most.
  /// @returns done, or failed if it cannot listen; the reason is logged.
  ExitCode run(Signals& signals, const ServiceManager& manager = {});

  // The parts of run(), for a program that does something else as well and reads the signals itself. It calls
  // listen(), then serve() on a thread of its own.

  /// Binds everything. @returns an error that names what could not be bound.
  Result<void> listen();
  /// The addresses of each backplane, joined by commas, in the order of the configuration. After listen().
  [[nodiscard]] const std::vector<std::string>& addresses() const noexcept;
  /// The address of /metrics; empty: off. After listen().
  [[nodiscard]] std::string metrics_address() const;
  /// Serves until stop() is called, and then ends as run() does; events of a broker in this process that have
  /// not been read are delivered before that. Another thread may destroy this then.
  void serve();

  // Any thread may call these while another one is in serve().

  /// Waits until a broker is connected for every backplane, `limit` at most.
  void wait_connected(std::chrono::milliseconds limit);
  /// Refuses events of clients from now on. Waits until the broker has those that they have sent before,
  /// about half a second at most.
  void stop_publishing();
  /// Makes serve() end. Returns at once.
  void stop();
  /// Whether the thread in serve() has not turned for 10 s. It turns every second, or more often.
  [[nodiscard]] bool is_stuck() const noexcept;
  /// Replaces policy and certificates, for open connections too; nullptr: they stay. Returns at once. What
  /// was nullptr at the start stays so.
  void reload(std::shared_ptr<const fanout::TlsContext> tls, std::shared_ptr<const policy::Policy> policy);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace backplane::gateway
