#pragma once
// The broker's process: its backplanes, each on a thread, and what an operator sees of them.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "broker/config.hpp"
#include "core/error/error.hpp"
#include "core/process/exit_code.hpp"
#include "core/process/signals.hpp"

namespace backplane::broker {

/// The composition root of `backplane broker`. Belongs to the main thread; owns the loops, their threads and
/// the metrics listener.
class Server {
 public:
  /// Makes and binds everything. @returns an error that names what could not be bound.
  static Result<std::unique_ptr<Server>> open(BrokerConfig config);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  /// One line a backplane, as scripts read them: `ready role=broker name=default ingress=… …`.
  [[nodiscard]] std::vector<std::string> ready_lines() const;

  /// Re-reads the configuration: called on SIGHUP.
  using Reader = std::function<Result<BrokerConfig>()>;

  /// Works until a stop signal (or a DrainRequest to every backplane), then drains. Blocks.
  ExitCode run(Signals& signals, const Reader& read_config);

 private:
  class Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace backplane::broker
