#pragma once
// What a broker says of itself, asked for over and over.

#include <chrono>
#include <cstdint>
#include <map>
#include <string>

#include "core/zmq/socket.hpp"

namespace backplane::cli {

/// The numbers of one answer.
struct BrokerNumbers {
  std::map<std::string, std::uint64_t> counters;  ///< the loop's own, by name
  std::uint64_t clients{};                        ///< of all gateways that are up
  std::uint64_t deliveries{};                     ///< of all gateways
};

/// Asks one broker's control endpoint. Lives on one thread; owns its socket; never blocks.
class BrokerStats {
 public:
  using Clock = std::chrono::steady_clock;

  /// Returns at once, whether there is a broker or not. Throws std::runtime_error where `control` is not
  /// an endpoint.
  BrokerStats(mq::Context& context, const std::string& control);

  /// Sends a question, unless one waits for its answer (but no longer than a few seconds).
  void ask(Clock::time_point now);

  /// Takes an answer, where there is one. @returns whether `numbers()` is new.
  [[nodiscard]] bool receive();
  [[nodiscard]] const BrokerNumbers& numbers() const noexcept { return numbers_; }

  /// For poll; ask receive() before every sleep.
  [[nodiscard]] int fd() { return socket_.fd(); }

 private:
  mq::Socket socket_;
  std::uint64_t id_{};  ///< of the question that was asked last
  bool waiting_{};
  Clock::time_point asked_{};
  BrokerNumbers numbers_;
};

}  // namespace backplane::cli
