#pragma once
// What the status line of `backplane up` needs to know of a broker, asked for over and over.

#include <chrono>
#include <memory>
#include <string>

#include "cli/supervision/status_line.hpp"
#include "core/zmq/socket.hpp"

namespace backplane {
class BrokerControl;
struct BrokerStats;
}  // namespace backplane

namespace backplane::cli {

/// What went in, what its gateways gave out, and their clients.
[[nodiscard]] StatusNumbers status_numbers(const BrokerStats& stats);

/// Asks one broker's control endpoint. Lives on one thread; owns its connection; never blocks.
class StatusPoller {
 public:
  using Clock = std::chrono::steady_clock;

  /// Returns at once, whether there is a broker or not. Throws std::invalid_argument where `control` is not
  /// an endpoint. `context` outlives it.
  StatusPoller(mq::Context& context, const std::string& control);
  ~StatusPoller();
  StatusPoller(const StatusPoller&) = delete;
  StatusPoller& operator=(const StatusPoller&) = delete;

  /// Asks, unless an answer is waited for.
  void request();
  /// Takes an answer, where there is one. @returns whether `numbers()` is new.
  [[nodiscard]] bool receive();
  [[nodiscard]] const StatusNumbers& numbers() const noexcept { return numbers_; }

  /// For poll; call receive() before every sleep.
  [[nodiscard]] int fd();

 private:
  std::unique_ptr<BrokerControl> control_;
  StatusNumbers numbers_;
  bool waiting_{};
  bool fresh_{};
};

}  // namespace backplane::cli
