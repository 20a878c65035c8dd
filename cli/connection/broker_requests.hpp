#pragma once
// Asking a broker from the command line: one question, one answer or one line that says why not.

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

/// Asks the first of some brokers that is there. Lives on the main thread; owns its connection. Each question
/// blocks until its answer has come, `limit` is over or the waiter is stopped; errors name the endpoint and
/// say what was found there.
class BrokerRequests {
 public:
  using Clock = Waiter::Clock;

  /// @param brokers at least one; `context` and `waiter` outlive it.
  BrokerRequests(mq::Context& context, std::vector<BrokerEndpoints> brokers, Waiter& waiter);

  Result<BrokerStats> stats(std::chrono::milliseconds limit);
  /// At most `topics_max` of those that match, in order of names. `all` says whether that was all of them.
  struct Topics {
    std::vector<TopicInfo> topics;
    bool all{};
    std::uint64_t first_position{};  ///< of the broker's last event, when the first page was made
    std::uint64_t last_position{};   ///< the same for the last page
  };
  Result<Topics> topics(std::string_view pattern, std::size_t topics_max, std::chrono::milliseconds limit);
  Result<TypesReply> types(const std::vector<std::string>& names, std::chrono::milliseconds limit);
  /// Asks the broker to end, and waits until it has. @returns false where it is still there after `limit`.
  Result<bool> drain(std::chrono::milliseconds limit);

  /// The one that is asked now.
  [[nodiscard]] const BrokerEndpoints& broker() const noexcept { return brokers_[at_]; }

 private:
  template <class T, class Ask>
  Result<T> ask(Ask put, Clock::time_point until);
  void connect();
  /// Does what there is to do, or waits for it.
  void turn(Clock::time_point until);
  [[nodiscard]] Error silence(bool connected, std::chrono::milliseconds waited);

  mq::Context& context_;
  std::vector<BrokerEndpoints> brokers_;
  Waiter& waiter_;
  std::size_t at_{};
  std::unique_ptr<BrokerControl> control_;
};

}  // namespace backplane::cli
