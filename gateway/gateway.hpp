#pragma once
// The gateway: any number of TCP clients on one backplane.

#include <memory>

#include "core/process/exit_code.hpp"
#include "core/process/signals.hpp"
#include "gateway/config/config.hpp"

namespace backplane::gateway {

/// Puts the gateway together and runs it: its backplanes, which share the one upstream thread, that of run().
/// On it are listeners, hubs, followers and what is published; nothing there blocks, and nothing there writes
/// to clients, which is the workers' part (see Backplane, and docs/architecture.md for where they meet).
class Gateway {
 public:
  /// Throws std::invalid_argument for endpoints that cannot be used, std::system_error and zmq::error_t
  /// where the system refuses.
  explicit Gateway(GatewayConfig config);
  ~Gateway();
  Gateway(const Gateway&) = delete;
  Gateway& operator=(const Gateway&) = delete;

  /// Listens, prints the ready line on standard output, and serves until `signals` says stop; then tells
  /// the clients and gives what is queued for them up to 1 s. A broker need not be there.
  /// @returns done, or failed where it cannot listen, which is logged.
  ExitCode run(Signals& signals);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace backplane::gateway
