#include "cli/serve_configuration.hpp"

#include <algorithm>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/log/escape.hpp"

namespace backplane::cli {
namespace {

std::string refuse_brokers(const config::Source& source, std::string_view table,
                           const std::vector<std::string>& brokers) {
  return fmt::format(
      "{}: expected no brokers, because the gateway of `backplane serve` uses the broker in its own process, "
      "got \"{}\"",
      source.place(fmt::format("{}.brokers", table)).str(),
      log::escape(fmt::format("{}", fmt::join(brokers, ", "))));
}

/// The backplane that [gateway] serves.
const std::string& name_of_first(const std::vector<broker::BackplaneConfig>& backplanes,
                                 const std::string& wanted) {
  const auto found = std::ranges::find(backplanes, wanted, &broker::BackplaneConfig::name);
  return found == backplanes.end() ? backplanes.front().name : found->name;
}

}  // namespace

std::vector<std::string> make_one_process(const config::Source& source, Configuration& configuration) {
  std::vector<std::string> errors;
  broker::BrokerConfig& broker = configuration.broker;
  gateway::GatewayConfig& gateway = configuration.gateway;

  if (!gateway.first.brokers.empty())
    errors.push_back(refuse_brokers(source, "gateway", gateway.first.brokers));
  const std::string& first = name_of_first(broker.backplanes, gateway.first.name);
  for (std::size_t index = 0; index < gateway.others.size(); ++index) {
    const gateway::BackplaneConfig& each = gateway.others[index];
    const std::string table = fmt::format("gateway.backplane[{}]", index);
    if (!each.brokers.empty()) errors.push_back(refuse_brokers(source, table, each.brokers));
    const bool exists = std::ranges::find(broker.backplanes, each.name, &broker::BackplaneConfig::name) !=
                        broker.backplanes.end();
    if (exists && each.name != first) continue;
    errors.push_back(fmt::format(
        "{}: expected the name of a [[backplane]]{}, got \"{}\"", source.place(table + ".name").str(),
        exists ? " other than the one that [gateway] serves" : "", log::escape(each.name)));
  }
  if (!errors.empty()) return errors;

  for (gateway::FeedConfig& feed : gateway.feeds) {
    if (feed.backplane == gateway.first.name) feed.backplane = first;
  }
  gateway.first.name = first;
  gateway.credentials = {};
  gateway.metrics = std::exchange(broker.metrics, broker::off);
  broker.serves_own_process = true;
  return {};
}

}  // namespace backplane::cli
