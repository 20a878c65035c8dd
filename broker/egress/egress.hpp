#pragma once
// Where events leave: the XPUB socket that any ZeroMQ SUB connects to.

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

/// Where a pipeline's events go.
class EgressSink {
 public:
  virtual ~EgressSink() = default;
  /// Sends [topic][event]; both frames are empty afterwards.
  virtual void publish(zmq::message_t& topic, zmq::message_t& event) = 0;
};

/// The egress socket. Belongs to the loop thread. Sending is bounded blocking: a full subscriber is waited
/// for within WaitBudget, then the event is sent past it, which is counted; nobody else loses it.
class Egress final : public EgressSink {
 public:
  struct Options {
    int send_hwm = 10'000;  ///< messages a subscriber, before the kernel's buffers
    std::size_t max_event_bytes = 1u << 20;
  };
  Egress(mq::Context& context, const Options& options, Counters& counters);

  Result<std::string> bind(const std::string& endpoint) { return socket_.bind(endpoint); }

  void publish(zmq::message_t& topic, zmq::message_t& event) override;

  /// What a subscriber has said: a prefix wanted or no longer wanted, by the first or last to say so.
  struct Subscription {
    bool begins{};
    std::string_view prefix;  ///< holds until the next call
  };
  /// The next one without blocking. What is not a subscription is passed over.
  [[nodiscard]] std::optional<Subscription> next_subscription();

  /// How long closing waits for what subscribers have not read yet.
  void set_linger(std::chrono::milliseconds linger);

  [[nodiscard]] mq::Socket& socket() noexcept { return socket_; }

 private:
  [[nodiscard]] bool send_waiting(zmq::message_t& topic);
  void set_nodrop(bool nodrop);

  mq::Socket socket_;
  Counters& counters_;
  WaitBudget budget_;
  zmq::message_t subscription_;
  int send_timeout_ms_ = -2;  ///< as set on the socket; -2: not known
  bool in_episode_{};
};

}  // namespace backplane::broker
