#include "cli/supervision/startup_banner.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "cli/supervision/ready_line.hpp"
#include "core/net/host_port.hpp"
#include "follower/broker_endpoints.hpp"

namespace backplane::cli {
namespace {

/// The address to which a program on this machine connects.
HostPort reachable(std::string_view address) {
  HostPort at = parse_host_port(address, "listen").value_or(HostPort{});
  if (at.host == "0.0.0.0") at.host = "127.0.0.1";
  if (at.host == "::") at.host = "::1";
  return at;
}

std::string page_url(std::string_view address) {
  const HostPort at = reachable(address);
  const bool ipv6 = at.host.find(':') != std::string::npos;
  return fmt::format("http://{}:{}/", ipv6 ? fmt::format("[{}]", at.host) : at.host, at.port);
}

std::string joined(const std::vector<std::string>& words) {
  return fmt::format("{}", fmt::join(words, "  "));
}

void append_broker(std::string_view ready, std::string& out) {
  out += fmt::format("  broker {}:", ready_value(ready, "name"));
  for (const std::string_view key : {"ingress", "egress", "control", "raw"}) {
    const std::string endpoint = ready_value(ready, key);
    if (!endpoint.empty()) out += fmt::format("  {} {}", key, endpoint);
  }
  out += '\n';
}

/// The options that a command needs to find the broker; none if it has the default endpoints.
std::string address_options(std::string_view ready) {
  const BrokerEndpoints standard;
  std::string options;
  for (const auto& [key, usual] : {std::pair<std::string_view, std::string_view>{"ingress", standard.ingress},
                                   {"egress", standard.egress},
                                   {"control", standard.control}}) {
    const std::string endpoint = ready_value(ready, key);
    if (endpoint != usual) options += fmt::format(" --{} {}", key, endpoint);
  }
  return options;
}

}  // namespace

std::vector<std::string> gateway_addresses(const StartedDaemons& daemons, bool feeds) {
  const std::string all = ready_value(daemons.gateway, "listen");
  std::vector<std::string> addresses;
  std::size_t index = 0;
  for (std::size_t at = 0; at < all.size(); ++index) {
    const std::size_t end = std::min(all.find(',', at), all.size());
    if ((index >= daemons.listeners) == feeds) addresses.push_back(all.substr(at, end - at));
    at = end + 1;
  }
  return addresses;
}

std::string startup_banner(const StartedDaemons& daemons) {
  std::string text = "Backplane is up. Press Ctrl-C to stop it.\n";
  for (const std::string& ready : daemons.broker) append_broker(ready, text);
  const std::string metrics = ready_value(daemons.broker.front(), "metrics");
  if (!metrics.empty()) text += fmt::format("  metrics: http://{}/metrics\n", metrics);
  const std::vector<std::string> listeners = gateway_addresses(daemons, false);
  const std::vector<std::string> feeds = gateway_addresses(daemons, true);
  if (!listeners.empty()) text += fmt::format("  gateway: {}\n", joined(listeners));
  if (!feeds.empty()) text += fmt::format("  feeds: {}\n", joined(feeds));
  if (daemons.http && !listeners.empty()) text += fmt::format("  page: {}\n", page_url(listeners.front()));

  text += "Try in another terminal:\n";
  if (!listeners.empty()) {
    const HostPort at = reachable(listeners.front());
    text += fmt::format("  nc {} {}        then type: {}SUB stock.>\n", at.host, at.port,
                        daemons.key_options.empty() ? "" : "AUTH <user>:<secret>, then ");
  } else if (!feeds.empty()) {
    const HostPort at = reachable(feeds.front());
    text += fmt::format("  nc {} {}\n", at.host, at.port);
  }
  const std::string addresses = address_options(daemons.broker.front()) + daemons.key_options;
  text += fmt::format(
      "  {0} sub clock 'temperature.>'{1}\n"
      "  {0} pub news.uk 'rain until Thursday'{1}\n",
      daemons.program, addresses);
  return text;
}

}  // namespace backplane::cli
