#include "cli/address_flags.hpp"

#include <fmt/format.h>

#include "core/credentials/broker_keys.hpp"
#include "core/net/host_port.hpp"
#include "core/zmq/socket.hpp"

namespace backplane::cli {
void add_address_flags(const Command& command, AddressFlags& flags) {
  const std::string group = "Addresses of the broker (default: the local broker)";
  command
      .add_option("--broker", flags.broker,
                  "Hosts of one or more brokers, with the default ports 5570, 5571 and 5572; events are read "
                  "from all of them, and published to the first that works")
      .value_name("HOST[,HOST...]")
      .group(group);
  const auto add = [&](const std::string& name, std::optional<std::string>& value, const std::string& about) {
    command.add_option(name, value, about).value_name("ENDPOINT").group(group);
  };
  add("--ingress", flags.ingress, "Endpoint for publishers, e.g. tcp://127.0.0.1:5570");
  add("--egress", flags.egress, "Endpoint for subscribers, e.g. tcp://127.0.0.1:5571");
  add("--control", flags.control, "Endpoint for requests, e.g. tcp://127.0.0.1:5572");
  const std::string keys = "Keys, for brokers that require them (backplane keys new)";
  command.add_option("--key", flags.key, "File with this client's secret key (default: $BACKPLANE_KEY_FILE)")
      .value_name("NAME.key")
      .group(keys);
  command
      .add_option("--server-key", flags.server_key,
                  "File with the broker's public key (default: $BACKPLANE_SERVER_KEY_FILE)")
      .value_name("NAME.pub")
      .group(keys);
}

Result<std::vector<BrokerEndpoints>> resolve(const AddressFlags& flags) {
  auto brokers = resolve_addresses(flags);
  if (!brokers) return brokers;
  const auto keys =
      read_broker_keys({.key = flags.key, .server_key = flags.server_key}, process_environment());
  if (!keys) return tl::unexpected(keys.error());
  for (BrokerEndpoints& each : *brokers) each.keys = *keys;
  return brokers;
}

Result<std::vector<BrokerEndpoints>> resolve_addresses(const AddressFlags& flags) {
  std::vector<BrokerEndpoints> brokers;
  std::string_view hosts = flags.broker;
  while (!flags.broker.empty()) {
    const std::size_t comma = hosts.find(',');
    const auto host = parse_broker_host(hosts.substr(0, comma), "--broker");
    if (!host) return tl::unexpected(host.error());
    brokers.push_back({fmt::format("tcp://{}:5570", *host), fmt::format("tcp://{}:5571", *host),
                       fmt::format("tcp://{}:5572", *host)});
    if (comma == std::string_view::npos) break;
    hosts.remove_prefix(comma + 1);
  }
  if (brokers.empty()) brokers.emplace_back();

  struct Given {
    std::string_view flag;
    const std::optional<std::string>& endpoint;
    std::string BrokerEndpoints::*field;
  };
  for (const Given& each : {Given{"--ingress", flags.ingress, &BrokerEndpoints::ingress},
                            Given{"--egress", flags.egress, &BrokerEndpoints::egress},
                            Given{"--control", flags.control, &BrokerEndpoints::control}}) {
    if (!each.endpoint) continue;
    if (brokers.size() > 1) {
      return fail(ErrorCode::invalid_argument,
                  fmt::format("{}: expected a single host in --broker, got {}", each.flag, brokers.size()));
    }
    if (auto good = mq::check_endpoint(*each.endpoint, each.flag); !good) return tl::unexpected(good.error());
    brokers.front().*each.field = *each.endpoint;
  }
  return brokers;
}

}  // namespace backplane::cli
