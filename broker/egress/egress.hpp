#pragma once
// An egress endpoint: an XPUB socket that any ZeroMQ SUB connects to.

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include <zmq.hpp>

#include "broker/egress/subscription_ledger.hpp"
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
  /// libzmq closes the connection of a subscriber that sends a longer message. Subscribers send subscriptions
  /// and what the handshake needs. libzmq keeps about 32 bytes for each byte of a subscription: a limit of
  /// the size of an event would let one message occupy 32 MiB.
  static constexpr std::int64_t subscriber_message_bytes_max = 4096;

  struct Options {
    int send_hwm = 10'000;  ///< messages per subscriber, before the kernel's buffers
    std::optional<mq::CurveServer> curve{};
  };
  /// `budget` is for all egress sockets of a backplane together.
  Egress(mq::Context& context, const Options& options, WaitBudget& budget, Counters& counters);

  Result<std::string> bind(const std::string& endpoint) { return socket_.bind(endpoint); }

  void publish(zmq::message_t& topic, zmq::message_t& event) override;

  /// A prefix that a subscriber has subscribed to, or has unsubscribed from.
  struct Subscription {
    bool begins{};
    std::string_view prefix;  ///< valid until the next call
    zmq::message_t& message;  ///< whose properties tell the subscriber; valid until the next call
  };
  /// Returns the next one without blocking, and counts it. Skips messages that are not subscriptions, at most
  /// some thousands per call. A subscriber that sends very many of these, or subscribes and unsubscribes
  /// without end, is disconnected: see SubscriptionLedger.
  [[nodiscard]] std::optional<Subscription> next_subscription();
  /// What its subscribers are subscribed to. Its owner must report closed connections to it.
  [[nodiscard]] SubscriptionLedger& ledger() noexcept { return ledger_; }

  /// Sets how long closing waits for subscribers to read what is queued.
  void set_linger(std::chrono::milliseconds linger);

  [[nodiscard]] mq::Socket& socket() noexcept { return socket_; }

 private:
  [[nodiscard]] bool send_waiting(zmq::message_t& topic);
  void set_nodrop(bool nodrop);
  void note_churn();

  mq::Socket socket_;
  Counters& counters_;
  WaitBudget& budget_;
  zmq::message_t subscription_;
  SubscriptionLedger ledger_;
  int send_timeout_ms_ = -2;  ///< as set on the socket; -2: unknown
  bool in_episode_{};
};

}  // namespace backplane::broker
