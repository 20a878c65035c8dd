#pragma once
// The connections of a listening ZeroMQ socket.

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <utility>

#include <sys/socket.h>

#include "broker/admission/user_connections.hpp"
#include "broker/ingress/connection_observer.hpp"
#include "broker/ingress/handshakes.hpp"
#include "core/zmq/socket.hpp"

namespace backplane::broker {

/// Counts the connections of one socket that closed before their handshake was complete, and closes those
/// that use descriptors which the program needs for itself. With a policy, also those of users who may no
/// longer connect. Lives on the thread that owns the socket; destroy it before the socket.
class ConnectionWatch {
 public:
  /// @param descriptors_max a connection with this descriptor or a higher one is closed
  ConnectionWatch(mq::Context& context, mq::Socket& socket, int descriptors_max)
      : monitor_(context, socket), descriptors_max_(descriptors_max) {}

  /// From the start: the socket requires CURVE, and this rule applies.
  void set_rule(EndpointRule rule, std::shared_ptr<const policy::Policy> policy) {
    users_.emplace(std::move(rule), std::move(policy));
  }

  /// From the start: `ledger`, which outlives this, learns of each connection that has closed.
  void report_closed_to(ConnectionObserver& ledger) noexcept { ledger_ = &ledger; }

  /// Call it at least once a second: until then, libzmq queues what happened.
  /// @param events_max how much of that to handle: when thousands of connections close at once, all of it
  ///                   takes some 10 ms
  /// @returns whether there may be more.
  bool turn(Handshakes::Clock::time_point now, int events_max = std::numeric_limits<int>::max()) {
    for (int handled = 0; handled < events_max; ++handled) {
      const mq::ConnectionEvent event = monitor_.next();
      if (event == mq::ConnectionEvent::none) {
        handshakes_.tick(now);
        return false;
      }
      if (event == mq::ConnectionEvent::accepted) accepted(monitor_.descriptor(), now);
      if (event == mq::ConnectionEvent::connected) handshakes_.completed();
      if (event == mq::ConnectionEvent::disconnected && monitor_.descriptor() >= 0) {
        handshakes_.closed(monitor_.descriptor());
        if (users_) users_->closed(monitor_.descriptor());
        if (ledger_ != nullptr) ledger_->closed(monitor_.descriptor());
      }
    }
    return true;
  }

  /// With a policy: call it for each message that is received, with any of its frames.
  void saw(zmq::message_t& message) {
    if (!users_ || users_->knows(message)) return;
    turn(Handshakes::Clock::now());
    users_->saw(message);
  }
  /// Applies another policy, and closes the connections of `to_disconnect`.
  void set_policy(std::shared_ptr<const policy::Policy> policy, const UserNames& to_disconnect) {
    turn(Handshakes::Clock::now());
    if (users_) users_->set_policy(std::move(policy), to_disconnect);
  }

  [[nodiscard]] std::uint64_t failed_handshakes() const noexcept { return handshakes_.failed(); }
  /// Connections that were closed because of descriptors_max.
  [[nodiscard]] std::uint64_t refused() const noexcept { return refused_; }
  /// Connections that were closed because of set_policy().
  [[nodiscard]] std::uint64_t revoked() const noexcept { return users_ ? users_->ended() : 0; }
  /// Lets another thread own the monitor: the next one that calls a method.
  void release() { monitor_.socket().release(); }

 private:
  void accepted(int descriptor, Handshakes::Clock::time_point now) {
    if (descriptor < descriptors_max_) {
      handshakes_.accepted(descriptor, now);
      if (users_) users_->accepted(descriptor);
      return;
    }
    ++refused_;
    // libzmq owns the socket, and closes it when it reads the end of the input. If it has done so already,
    // the number may belong to a newer connection, which is one too many as well.
    ::shutdown(descriptor, SHUT_RDWR);
  }

  mq::Monitor monitor_;
  const int descriptors_max_;
  Handshakes handshakes_;
  std::optional<UserConnections> users_;  ///< with a policy
  ConnectionObserver* ledger_{};          ///< of an egress socket
  std::uint64_t refused_{};
};

}  // namespace backplane::broker
