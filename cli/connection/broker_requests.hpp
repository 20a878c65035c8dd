#pragma once
// Requests to a broker that block until the reply.

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cli/connection/waiter.hpp"
#include "core/error/error.hpp"
#include "core/zmq/socket.hpp"
#include "follower/broker_endpoints.hpp"
#include "follower/control/broker_control.hpp"
#include "follower/control/broker_info.hpp"

namespace backplane::cli {

/// Sends control requests to the first of some brokers that it can connect to. Lives on the main thread; owns
/// its connection. Each request blocks until its reply has arrived, `limit` is over or the waiter is stopped;
/// if nothing listens at any of the brokers, it returns an error at once.
/// if no broker accepts its keys, as soon as all have been tried.
/// Errors name the endpoint, and say what was found there if it did not reply.
class BrokerRequests {
 public:
  using Clock = Waiter::Clock;

  /// @param brokers  at least one. `context` and `waiter` outlive it.
  BrokerRequests(mq::Context& context, std::vector<BrokerEndpoints> brokers, Waiter& waiter);

  Result<BrokerIdentity> identify(std::string_view name, std::chrono::milliseconds limit);

  Result<BrokerStats> stats(std::chrono::milliseconds limit);

  /// Topics that match, in the order of their names.
  struct Topics {
    std::vector<TopicInfo> topics;
    bool all{};                      ///< whether the list has every topic that matches
    std::uint64_t first_position{};  ///< the broker's position when it sent the first page
    std::uint64_t last_position{};   ///< the broker's position when it sent the last page
  };
  Result<Topics> topics(std::string_view pattern, std::size_t topics_max, std::chrono::milliseconds limit);

  Result<TypesReply> types(const std::vector<std::string>& names, std::chrono::milliseconds limit);

  /// Makes the broker drain, and waits until it has exited. @returns false if it is still running after
  /// `limit`.
  Result<bool> drain(std::chrono::milliseconds limit);

  /// The broker that requests go to now.
  [[nodiscard]] const BrokerEndpoints& broker() const noexcept { return brokers_[at_]; }

 private:
  template <class T, class Send>
  Result<T> request(Send send, Clock::time_point until);
  void connect();
  /// Does the work that is due, or waits for some.
  void turn(Clock::time_point until);
  [[nodiscard]] std::vector<std::string> endpoints() const;
  [[nodiscard]] Error no_reply(bool connected, std::chrono::milliseconds waited);

  mq::Context& context_;
  std::vector<BrokerEndpoints> brokers_;
  Waiter& waiter_;
  std::size_t at_{};
  std::unique_ptr<BrokerControl> control_;
};

}  // namespace backplane::cli
