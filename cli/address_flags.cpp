#include "cli/address_flags.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "core/log/escape.hpp"
#include "core/zmq/socket.hpp"

namespace backplane::cli {
namespace {

/// @param host  a name, an IPv4 address, or an IPv6 address with or without brackets
/// @returns the host as an endpoint has it: an IPv6 address is in brackets.
Result<std::string> endpoint_host(std::string_view host) {
  std::string_view bare = host;
  const bool bracketed = bare.size() > 2 && bare.front() == '[' && bare.back() == ']';
  if (bracketed) bare = bare.substr(1, bare.size() - 2);
  const bool ipv6 = std::count(bare.begin(), bare.end(), ':') >= 2;
  const bool good = !bare.empty() && std::all_of(bare.begin(), bare.end(), [&](char c) {
    const bool alphanumeric = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    return alphanumeric || c == '.' || c == '-' || c == '_' || (ipv6 && (c == ':' || c == '%'));
  });
  if (!good || (bracketed && !ipv6)) {
    return fail(
        ErrorCode::invalid_argument,
        fmt::format("--broker: expected HOST or HOST,HOST without ports, got \"{}\"", log::escape(host)));
  }
  return ipv6 ? fmt::format("[{}]", bare) : std::string(bare);
}

}  // namespace

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
}

Result<std::vector<BrokerEndpoints>> resolve(const AddressFlags& flags) {
  std::vector<BrokerEndpoints> brokers;
  std::string_view hosts = flags.broker;
  while (!flags.broker.empty()) {
    const std::size_t comma = hosts.find(',');
    const auto host = endpoint_host(hosts.substr(0, comma));
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
