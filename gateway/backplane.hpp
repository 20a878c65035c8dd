#pragma once
// One backplane's part of a gateway.

#include <chrono>
#include <memory>
#include <string>

#include "core/error/error.hpp"
#include "gateway/config/config.hpp"
#include "gateway/operations/figures.hpp"

namespace backplane::gateway {

class Poller;

/// Puts together what one backplane's clients need: listeners, an engine with its workers, a hub, a follower
/// of the broker and a publisher to it. Lives on the gateway's one upstream thread, but for the workers and
/// the publisher's own thread. Owns all of it.
class Backplane {
 public:
  using Clock = std::chrono::steady_clock;

  /// Throws std::invalid_argument for endpoints that cannot be used, std::system_error and zmq::error_t where
  /// the system refuses. Both configurations outlive it, and so does `board`, on which whoever runs it shows
  /// its figures: HTTP clients are given them.
  Backplane(const GatewayConfig& gateway, const BackplaneConfig& backplane, const std::string& name,
            const FiguresBoard& board);
  ~Backplane();
  Backplane(const Backplane&) = delete;
  Backplane& operator=(const Backplane&) = delete;

  /// Listens on all its places, its feeds' among them. @returns the addresses in force, joined by commas.
  Result<std::string> listen();
  /// Has `poller` watch its descriptors.
  void watch(Poller& poller);

  /// Before sleeping: who puts something in for it from now on wakes it.
  void fall_asleep() noexcept;
  void wake_up() noexcept;
  /// Until when it may sleep; time_point::min(): not at all.
  [[nodiscard]] Clock::time_point next_deadline();
  /// Does what is to be done now.
  void turn(Clock::time_point now);

  /// Listens no more, and says goodbye to all clients.
  void drain();
  /// Whether they have all been told, as far as they read.
  [[nodiscard]] bool drained() const;
  /// Gives what clients have published up to `limit` to reach the broker.
  void close(std::chrono::milliseconds limit);

  [[nodiscard]] Figures figures() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace backplane::gateway
