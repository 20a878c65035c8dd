#include "gateway/descriptor_budget.hpp"

#include <algorithm>
#include <limits>

namespace backplane::gateway {
namespace {

// What a gateway opens while it runs. Everything else is open before the first client.

// A connection for events and one for requests; the next ones can begin before libzmq has closed them.
constexpr std::size_t per_broker = 4;
// A publisher creates its sockets anew for each connection (4 eventfds and 2 connections), and checks earlier
// brokers of its list with another pair.
constexpr std::size_t per_publisher = 14;
// Name lookups, log files.
constexpr std::size_t per_process = 8;

}  // namespace

DescriptorBudget descriptor_budget(const GatewayConfig& config, std::uint64_t open_files_max) {
  const auto files = static_cast<std::size_t>(
      std::min<std::uint64_t>(open_files_max, static_cast<std::uint64_t>(std::numeric_limits<int>::max())));
  DescriptorBudget budget;
  budget.refused_max = std::clamp<std::size_t>(files / 32, 2, 16);
  budget.metrics_connections_max = std::clamp<std::size_t>(files / 32, 2, 256);
  std::size_t own = per_process + (config.metrics == "off" ? 0 : budget.metrics_connections_max);
  const auto add = [&](const BackplaneConfig& backplane) {
    own += per_publisher + per_broker * backplane.endpoints().size() + budget.refused_max;
  };
  add(config.first);
  for (const BackplaneConfig& each : config.others) add(each);
  budget.clients_end = static_cast<int>(files - std::min(own, files));
  return budget;
}

}  // namespace backplane::gateway
