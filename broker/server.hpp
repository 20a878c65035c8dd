#pragma once
// The broker process: its backplanes, each on its own thread, and the metrics listener.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "broker/config.hpp"
#include "core/error/error.hpp"
#include "core/process/exit_code.hpp"
#include "core/process/service_manager.hpp"
#include "core/process/signals.hpp"

namespace backplane::broker {

/// The composition root of `backplane broker`. Lives on the main thread. Owns the loops, their threads and
/// the metrics listener.
class Server {
 public:
  /// Creates and binds everything. @returns an error that names what could not be bound.
  static Result<std::unique_ptr<Server>> open(BrokerConfig config);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  /// One line per backplane, in the form that scripts read: `ready role=broker name=default ingress=… …`.
  /// The endpoints of limited_egress are in one value, separated by commas.
  [[nodiscard]] std::vector<std::string> ready_lines() const;

  /// Reads the configuration again; called on SIGHUP.
  using Reader = std::function<Result<BrokerConfig>()>;

  /// Runs until a stop signal (or a DrainRequest to every backplane), then drains. Blocks. `manager` is
  /// notified of each step, and hears nothing while a loop is stuck.
  ExitCode run(Signals& signals, const Reader& read_config, const ServiceManager& manager = {});

 private:
  class Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace backplane::broker
