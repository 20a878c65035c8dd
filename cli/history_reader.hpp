#pragma once
// A broker's history, from its beginning to now.

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cli/waiter.hpp"
#include "core/error/error.hpp"
#include "core/zmq/socket.hpp"
#include "follower/broker_endpoints.hpp"
#include "follower/control/replay_slice.hpp"
#include "follower/order/delivery.hpp"

namespace backplane::cli {

/// What a reading of history was not given.
struct HistoryHoles {
  std::uint64_t gone{};  ///< times that something which matches is no longer held
  bool reset{};          ///< the broker is not the one, or not in the life, that was asked for
  std::string text;      ///< one line for a person; empty: nothing was missing
};

/// Reads all that matches `pattern`, in position order, until all that the broker has is given. Blocks;
/// `take` is called for each event, whose views hold during the call, and says whether to go on.
/// @param limit  how long the broker may be silent
/// @returns what was missing; or an error, after which some events may have been given.
Result<HistoryHoles> read_history(mq::Context& context, const std::vector<BrokerEndpoints>& brokers,
                                  const std::string& pattern, const ReplayFrom& from,
                                  const std::function<bool(const Delivery&)>& take, Waiter& waiter,
                                  std::chrono::milliseconds limit);

}  // namespace backplane::cli
