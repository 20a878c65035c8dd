#pragma once
// An egress endpoint: an XPUB socket that any ZeroMQ SUB connects to.

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include <zmq.hpp>

#include "broker/egress/wait_budget.hpp"
#include "broker/state/counters.hpp"
#include "core/error/error.hpp"
#include "core/zmq/socket.hpp"

namespace backplane::broker {

/// Receives the events that a pipeline publishes.
class EgressSink {
 public:
  virtual ~EgressSink() = default;
  /// Sends [topic][event]. Both frames are empty afterwards.
  virtual void publish(zmq::message_t& topic, zmq::message_t& event) = 0;
};

/// One egress socket. Lives on the loop thread. Sending is bounded blocking: it waits for a full subscriber
/// within WaitBudget, then sends the event past it and counts that. No other subscriber loses the event.
class Egress final : public EgressSink {
 public:
  struct Options {
    int send_hwm = 10'000;  ///< messages per subscriber, before the kernel's buffers
    std::size_t max_event_bytes = 1u << 20;
    /// With CURVE, next_subscription() also returns duplicate subscriptions, and every unsubscription.
    std::optional<mq::CurveServer> curve{};
  };
  /// `budget` is for all egress sockets of a backplane together.
  Egress(mq::Context& context, const Options& options, WaitBudget& budget, Counters& counters);

  Result<std::string> bind(const std::string& endpoint) { return socket_.bind(endpoint); }

  void publish(zmq::message_t& topic, zmq::message_t& event) override;

  /// A prefix that the first subscriber has subscribed to, or the last one has unsubscribed from; with CURVE,
  /// that any subscriber has.
  struct Subscription {
    bool begins{};
    std::string_view prefix;  ///< valid until the next call
    zmq::message_t& message;  ///< whose properties tell the subscriber; valid until the next call
  };
  /// Returns the next one without blocking. Skips messages that are not subscriptions.
  [[nodiscard]] std::optional<Subscription> next_subscription();

  /// Sets how long closing waits for subscribers to read what is queued.
  void set_linger(std::chrono::milliseconds linger);

  [[nodiscard]] mq::Socket& socket() noexcept { return socket_; }

 private:
  [[nodiscard]] bool send_waiting(zmq::message_t& topic);
  void set_nodrop(bool nodrop);

  mq::Socket socket_;
  Counters& counters_;
  WaitBudget& budget_;
  zmq::message_t subscription_;
  int send_timeout_ms_ = -2;  ///< as set on the socket; -2: unknown
  bool in_episode_{};
};

}  // namespace backplane::broker
