#pragma once
// The picture of `backplane top`.

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "cli/console/screen.hpp"
#include "cli/console/topics_view.hpp"
#include "follower/control/broker_info.hpp"

namespace backplane::cli {

/// What one broker said last.
struct BrokerReading {
  std::string endpoint;  ///< its control endpoint
  BrokerStats stats;
  std::chrono::steady_clock::time_point taken{};
  TopicsReading topics;
  std::string problem;  ///< why there is nothing newer; empty: there is
};

/// Brokers, gateways, publishers and clients, and the busiest topics, on as many lines as there are. Rates
/// are those between the two readings of each broker; `before` may be empty.
/// @param interval how often it is renewed, for the title
[[nodiscard]] std::vector<ScreenLine> top_picture(const std::vector<BrokerReading>& now,
                                                  const std::vector<BrokerReading>& before, ScreenSize size,
                                                  std::chrono::nanoseconds interval);

}  // namespace backplane::cli
