#include "gateway/descriptor_budget.hpp"

#include <algorithm>
#include <limits>

namespace backplane::gateway {
namespace {

// What a gateway opens while it runs. Everything else is open before the first client.

// A connection for events and one for requests.
constexpr std::size_t per_broker = 2;
// A publisher creates its sockets anew for each connection (4 eventfds and 2 connections), perhaps before
// libzmq has closed the old ones. With several brokers, it also checks earlier ones of its list.
constexpr std::size_t per_publisher = 12;
constexpr std::size_t per_list = 6;

}  // namespace

DescriptorBudget descriptor_budget(const GatewayConfig& config, std::uint64_t open_files_max) {
  const auto files = static_cast<std::size_t>(
      std::min<std::uint64_t>(open_files_max, static_cast<std::uint64_t>(std::numeric_limits<int>::max())));
  DescriptorBudget budget;
  budget.refused_max = std::clamp<std::size_t>(files / 32, 2, 16);
  budget.metrics_connections_max = std::clamp<std::size_t>(files / 32, 2, 256);
  // Name lookups, log files, and what else the C library opens.
  std::size_t own = std::clamp<std::size_t>(files / 32, 4, 64);
  if (config.metrics != "off") own += budget.metrics_connections_max;
  const auto add = [&](const BackplaneConfig& backplane) {
    const std::size_t brokers = backplane.endpoints().size();
    own += per_publisher + (brokers > 1 ? per_list : 0) + per_broker * brokers + budget.refused_max;
  };
  add(config.first);
  for (const BackplaneConfig& each : config.others) add(each);
  budget.clients_end = static_cast<int>(files - std::min(own, files));
  return budget;
}

}  // namespace backplane::gateway
