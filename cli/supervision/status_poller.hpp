#pragma once
// Polls a broker for the numbers of the status line.

#include <chrono>
#include <memory>
#include <string>

#include "cli/supervision/status_line.hpp"
#include "core/zmq/client_keys.hpp"
#include "core/zmq/socket.hpp"

namespace backplane {
class BrokerControl;
struct BrokerStats;
}  // namespace backplane

namespace backplane::cli {

/// The events that a broker received, and the deliveries and clients of its gateways.
[[nodiscard]] StatusNumbers status_numbers(const BrokerStats& stats);

/// Requests the stats of one broker. Belongs to one thread; owns its connection; never blocks.
class StatusPoller {
 public:
  using Clock = std::chrono::steady_clock;

  /// Starts to connect, and returns at once. Throws std::invalid_argument if `control` is not an endpoint.
  /// `context` outlives it.
  StatusPoller(mq::Context& context, const std::string& control, const mq::SharedKeys& keys);
  ~StatusPoller();
  StatusPoller(const StatusPoller&) = delete;
  StatusPoller& operator=(const StatusPoller&) = delete;

  /// Sends a request, unless a reply is outstanding.
  void request();
  /// Reads a reply if one has arrived. @returns whether `numbers()` is new.
  [[nodiscard]] bool receive();
  [[nodiscard]] const StatusNumbers& numbers() const noexcept { return numbers_; }

  /// For poll(). It is edge-triggered: call receive() before each poll().
  [[nodiscard]] int fd();

 private:
  std::unique_ptr<BrokerControl> control_;
  StatusNumbers numbers_;
  bool outstanding_{};  // a request
  bool fresh_{};
};

}  // namespace backplane::cli
