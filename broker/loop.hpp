#pragma once
// The loop of one backplane: its sockets, its timers and its shutdown.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "broker/config.hpp"
#include "core/error/error.hpp"
#include "core/zmq/socket.hpp"

namespace backplane::broker {

class SnapshotBoard;

/// The endpoints of a backplane, with the real ports; empty: off.
struct BoundEndpoints {
  std::string ingress;
  std::string egress;
  std::string control;
  std::string raw;
  std::vector<std::string> limited_egress;
  std::string member;  ///< this broker's name in the log that several share; empty: there is none
};

/// The endpoints of a backplane for the rest of its process. Only sockets in this context can connect to
/// them. They need no keys, and with a policy what comes by them may do everything (Access::own_user()). All
/// topics are published there.
struct LocalEndpoints {
  std::shared_ptr<mq::Context> context;
  std::string ingress;
  std::string egress;
  std::string control;
};

/// The settings that can change while a backplane runs.
struct LoopSettings {
  HistoryLimits history;
  std::chrono::milliseconds stats_every{};
  std::size_t max_subscriptions_warning{};
};

/// One running backplane. The thread that calls run() is the loop thread, which then owns all the sockets and
/// all the state. Before that, one thread after another may construct and open() it. Any thread may call
/// drain(), reload() and set_policy().
class Loop {
 public:
  /// `board` receives the snapshots and outlives the loop.
  /// @param descriptors_max connections with this descriptor or a higher one are closed
  Loop(BackplaneConfig config, SnapshotBoard& board, int descriptors_max = std::numeric_limits<int>::max());
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  /// Creates and binds the sockets. @returns the bound endpoints, or an error that names the endpoint.
  Result<BoundEndpoints> open();
  /// The endpoints for the rest of the process, if config.serves_own_process. The context may outlive the
  /// loop: it ends when nobody has it any more, and then waits for subscribers that are still reading.
  [[nodiscard]] LocalEndpoints local() const;
  /// Runs until drained; blocks. Throws if libzmq fails.
  void run();

  /// Starts the drain; run() returns at most config.drain_limit later. Any thread.
  void drain() noexcept;
  /// Sets new settings, which apply from the next turn. Any thread.
  void reload(LoopSettings settings);
  /// Replaces the policy of config.admission, which must be required(). When this returns, everything is
  /// decided by it, and the connections of users who may no longer connect are closed. Blocks for 2 s at
  /// most, after which a loop that is stuck still applies it in its next turn. Any thread but run()'s.
  void set_policy(std::shared_ptr<const policy::Policy> policy);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace backplane::broker
