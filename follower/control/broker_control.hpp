#pragma once
// One broker's control endpoint, for whoever only has requests.

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/error/error.hpp"
#include "core/zmq/socket.hpp"
#include "follower/control/broker_info.hpp"
#include "follower/control/control_requests.hpp"

namespace backplane {

/// Asks one broker about itself, by and by (requests(), do_work()) or waiting for the answer (the
/// methods that return a Result). Lives on one thread; owns its socket; reconnects by itself.
class BrokerControl {
 public:
  using Clock = std::chrono::steady_clock;

  struct Options {
    std::string control = "tcp://127.0.0.1:5572";
    std::chrono::milliseconds answer_limit{2000};  ///< from the moment that a question is sent
  };

  /// Returns at once, whether there is a broker or not. Throws std::invalid_argument for an endpoint that
  /// cannot be used. `context` outlives it.
  BrokerControl(mq::Context& context, Options options);
  ~BrokerControl();
  BrokerControl(const BrokerControl&) = delete;
  BrokerControl& operator=(const BrokerControl&) = delete;

  /// These block until the answer has come, at most `limit`: unavailable where no broker was there in
  /// that time, timeout where one was and did not answer, protocol where it refused.
  Result<TopicsPage> topics(std::string_view pattern, std::string_view cursor,
                            std::chrono::milliseconds limit);
  /// All pages of topics(); at most `topics_max` (above it: exhausted).
  Result<std::vector<TopicInfo>> all_topics(std::string_view pattern, std::size_t topics_max,
                                            std::chrono::milliseconds limit);
  Result<TypesReply> types(const std::vector<std::string>& names, std::chrono::milliseconds limit);
  Result<BrokerStats> stats(std::chrono::milliseconds limit);
  Result<void> drain(std::chrono::milliseconds limit);

  /// These never block: ask, and call do_work() whenever a descriptor is readable or at next_deadline().
  [[nodiscard]] follower::ControlRequests& requests() noexcept;
  /// @returns how much was done.
  std::size_t do_work(Clock::time_point now);
  [[nodiscard]] std::vector<int> fds();
  /// Whether there is work at once. Ask before sleeping: the descriptors are edge-triggered.
  [[nodiscard]] bool pending();
  [[nodiscard]] Clock::time_point next_deadline() const;
  [[nodiscard]] bool connected() const noexcept;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace backplane
