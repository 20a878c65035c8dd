#pragma once
// Requests to a broker, without reading its events.

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/error/error.hpp"
#include "core/zmq/client_keys.hpp"
#include "core/zmq/socket.hpp"
#include "follower/control/broker_info.hpp"
#include "follower/control/control_requests.hpp"

namespace backplane {

/// A connection to the control endpoint of one broker. Requests either run from do_work() (requests()), or
/// block (types()). Lives on one thread; owns its socket; reconnects by itself.
class BrokerControl {
 public:
  using Clock = std::chrono::steady_clock;

  struct Options {
    std::string control = "tcp://127.0.0.1:5572";
    std::chrono::milliseconds reply_timeout{2000};  ///< from the moment when a request is sent
    mq::SharedKeys keys{};
  };

  /// Returns at once, whether there is a broker or not. Throws std::invalid_argument for an invalid endpoint.
  /// `context` outlives it.
  BrokerControl(mq::Context& context, Options options);
  ~BrokerControl();
  BrokerControl(const BrokerControl&) = delete;
  BrokerControl& operator=(const BrokerControl&) = delete;

  /// Requests the definitions of message types and blocks until the reply, at most `limit`.
  /// @returns unavailable if there was no broker in that time, timeout if it did not reply, protocol if it
  ///          refused; unavailable before that time if there is a key_problem().
  Result<TypesReply> types(const std::vector<std::string>& names, std::chrono::milliseconds limit);

  /// Requests that never block. Call do_work() whenever a descriptor is readable, and at next_deadline().
  [[nodiscard]] follower::ControlRequests& requests() noexcept;
  /// @returns the amount of work done.
  std::size_t do_work(Clock::time_point now);
  [[nodiscard]] std::vector<int> fds();
  /// Whether there is work now. Check it before sleeping: the descriptors are edge-triggered.
  [[nodiscard]] bool pending();
  [[nodiscard]] Clock::time_point next_deadline() const;
  [[nodiscard]] bool connected() const noexcept;
  /// Why the broker does not accept our keys, or that it requires some, as one line; empty: it does. It stays
  /// until the broker is connected.
  [[nodiscard]] std::string key_problem() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace backplane
