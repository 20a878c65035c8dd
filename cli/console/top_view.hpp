#pragma once
// The screen of `backplane top`.

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "cli/console/screen.hpp"
#include "cli/console/topics_view.hpp"
#include "follower/control/broker_info.hpp"

namespace backplane::cli {

/// The last reading of one broker.
struct BrokerReading {
  std::string endpoint;  ///< its control endpoint
  BrokerStats stats;
  std::chrono::steady_clock::time_point taken{};
  TopicsReading topics;
  std::string problem;  ///< why a newer reading failed; empty if none failed
};

/// Brokers, gateways, publishers and clients, and the busiest topics, on at most `size.rows` lines. Rates are
/// measured between the two readings of each broker; `before` may be empty.
/// @param interval  the interval between readings, for the title
[[nodiscard]] std::vector<ScreenLine> top_picture(const std::vector<BrokerReading>& now,
                                                  const std::vector<BrokerReading>& before, ScreenSize size,
                                                  std::chrono::nanoseconds interval);

}  // namespace backplane::cli
