#pragma once
// One backplane of a gateway.

#include <chrono>
#include <memory>
#include <string>

#include "core/error/error.hpp"
#include "core/policy/policy.hpp"
#include "fanout/tls/context.hpp"
#include "gateway/access/authenticator.hpp"
#include "gateway/config/config.hpp"
#include "gateway/descriptor_budget.hpp"
#include "gateway/operations/figures.hpp"

namespace backplane::gateway {

class Poller;

/// Builds what the clients of one backplane need: listeners, an engine with its workers, a hub, a follower of
/// the broker and a publisher to it. Owns all of it. Lives on the gateway's upstream thread; the workers and
/// the publisher have threads of their own.
class Backplane {
 public:
  using Clock = std::chrono::steady_clock;

  /// Throws std::invalid_argument for invalid endpoints, std::system_error and zmq::error_t if the system
  /// refuses. The configurations and `board` outlive it. The caller publishes figures on `board`, and HTTP
  /// clients read them there.
  /// @param tls nullptr: no client uses TLS
  /// @param policy, authenticator nullptr: everybody may do everything. The authenticator is destroyed first.
  Backplane(const GatewayConfig& gateway, const BackplaneConfig& backplane, const std::string& name,
            const DescriptorBudget& descriptors, const FiguresBoard& board,
            std::shared_ptr<const fanout::TlsContext> tls,
            const std::shared_ptr<const policy::Policy>& policy, Authenticator* authenticator);
  ~Backplane();
  Backplane(const Backplane&) = delete;
  Backplane& operator=(const Backplane&) = delete;

  /// Listens on all addresses, including those of feeds. @returns the bound addresses, joined by commas.
  Result<std::string> listen();
  /// Replaces the certificates for new connections. Only if there are some already.
  void set_tls(const std::shared_ptr<const fanout::TlsContext>& tls);
  /// Adds its descriptors to `poller`.
  void watch(Poller& poller);

  /// Called before the thread sleeps: a request that arrives from now on wakes it.
  void fall_asleep() noexcept;
  void wake_up() noexcept;
  /// The time until which the thread may sleep; time_point::min(): not at all.
  [[nodiscard]] Clock::time_point next_deadline();
  /// Does the work that is due.
  void turn(Clock::time_point now);

  /// Replaces the policy, which there was from the start: see Hub::change_policy().
  void change_policy(const std::shared_ptr<const policy::Policy>& policy);

  /// Whether a broker is connected, with all subscriptions active.
  [[nodiscard]] bool connected() const;

  /// Publishes what clients have sent so far, and waits up to `limit` until the broker has it. From now on,
  /// their events are refused.
  void stop_publishing(std::chrono::milliseconds limit);
  /// Whether there may be events from the broker that have not been read.
  [[nodiscard]] bool has_unread();

  /// Stops listening, and notifies all clients that they will be disconnected.
  void drain();
  /// Whether every client has been notified and has no unsent data.
  [[nodiscard]] bool drained() const;
  /// Waits up to `limit` until the broker has what clients published.
  void close(std::chrono::milliseconds limit);

  /// Lets another thread destroy it.
  void release();

  [[nodiscard]] Figures figures() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace backplane::gateway
