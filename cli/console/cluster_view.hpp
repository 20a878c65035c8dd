#pragma once
// What `backplane cluster status` shows.

#include <string>
#include <vector>

#include "follower/control/broker_info.hpp"

namespace backplane::cli {

/// The state of the log, its servers and the brokers that share it. Text from outside is escaped.
/// @param stats  with a cluster
[[nodiscard]] std::vector<std::string> cluster_lines(const BrokerStats& stats);

/// The same as one JSON object.
[[nodiscard]] std::string cluster_json(const BrokerStats& stats);

}  // namespace backplane::cli
