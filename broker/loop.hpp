#pragma once
// The loop of one backplane: its sockets, its timers and its end.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "broker/config.hpp"
#include "core/error/error.hpp"
#include "core/zmq/socket.hpp"

namespace backplane::broker {

class SnapshotBoard;

/// Where a backplane can be reached, ports filled in; empty: off.
struct BoundEndpoints {
  std::string ingress;
  std::string egress;
  std::string control;
  std::string raw;
};

/// What can change while a backplane runs.
struct LoopSettings {
  HistoryLimits history;
  std::chrono::milliseconds stats_every{};
  std::size_t max_subscriptions_warning{};
};

/// One backplane at work. Whoever calls run() is the loop thread, which then owns all the sockets and all the
/// state; before, one thread after another may make it and open() it. drain() and reload() are its crossings
/// and may be called from any thread.
class Loop {
 public:
  /// `board` is where snapshots go; it outlives the loop.
  Loop(BackplaneConfig config, SnapshotBoard& board);
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  /// Makes and binds the sockets. @returns where, or what could not be bound.
  Result<BoundEndpoints> open();
  /// Works until drained. Throws where libzmq cannot go on.
  void run();

  /// Begins the drain: at most config.drain_limit later, run() returns. From any thread.
  void drain() noexcept;
  /// New settings, in force from the next turn. From any thread.
  void reload(LoopSettings settings);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace backplane::broker
