#pragma once
// A broker: its backplanes, each on its own thread, and the metrics listener.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "broker/config.hpp"
#include "broker/loop.hpp"
#include "core/error/error.hpp"
#include "core/process/exit_code.hpp"
#include "core/process/service_manager.hpp"
#include "core/process/signals.hpp"

namespace backplane::broker {

/// The composition root of `backplane broker`, and of the broker in `backplane serve`. Lives on the main
/// thread. Owns the loops, their threads and the metrics listener.
class Server {
 public:
  /// Creates and binds everything. @returns an error that names what could not be bound.
  /// @param files_kept  descriptors that are left to the rest of the process
  static Result<std::unique_ptr<Server>> open(BrokerConfig config, std::size_t files_kept = 0);
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

  // The parts of run(), for a program that does something else as well. It calls start() once, and wait()
  // when it is to end. Meanwhile it waits for ended_fd(), and then calls has_ended().

  /// A backplane as it is bound: `ingress=… egress=… control=… raw=…`, as in the ready lines.
  struct Bound {
    std::string name;
    std::string endpoints;
    LocalEndpoints local;  ///< if config.serves_own_process
  };
  /// In the order of the configuration.
  [[nodiscard]] std::vector<Bound> bound() const;

  /// Starts the loops.
  void start();
  /// Readable when a loop has ended, until has_ended() is called.
  [[nodiscard]] int ended_fd() const noexcept;
  /// Whether a loop has ended, because of a DrainRequest or because it has failed.
  [[nodiscard]] bool has_ended() noexcept;
  /// Drains all backplanes, and blocks until all loops have ended. @returns done, or failed if one has
  /// failed.
  ExitCode wait();
  /// Applies what can change while the broker runs, and logs what cannot.
  void reload(const BrokerConfig& config);
  /// Whether a loop that should run has stopped turning.
  [[nodiscard]] bool any_stuck();

  /// The body of /metrics, and why /readyz is 503 (empty: it is 200). Any thread.
  [[nodiscard]] std::string exposition() const;
  [[nodiscard]] std::string why_not_ready() const;
  /// Connections with this descriptor or a higher one are closed.
  [[nodiscard]] int descriptors_end() const noexcept;

 private:
  class Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace backplane::broker
