#include "core/net/broker_address.hpp"

#include <algorithm>
#include <charconv>
#include <optional>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>

#include "core/log/escape.hpp"

namespace backplane {
namespace {

/// A host name or an IPv4 address.
bool is_name(std::string_view host) {
  return !host.empty() && host.size() <= 255 && std::all_of(host.begin(), host.end(), [](char c) {
    const bool alphanumeric = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    return alphanumeric || c == '.' || c == '-' || c == '_';
  });
}

/// An IPv6 address, perhaps with an interface: `fe80::1%eth0`.
bool is_ipv6(std::string_view host) {
  const std::size_t percent = host.find('%');
  if (percent != std::string_view::npos && !is_name(host.substr(percent + 1))) return false;
  in6_addr address{};
  return ::inet_pton(AF_INET6, std::string(host.substr(0, percent)).c_str(), &address) == 1;
}

}  // namespace

std::string BrokerAddress::endpoint(std::uint16_t offset) const {
  return fmt::format("tcp://{}:{}", host, port + offset);
}

Result<BrokerAddress> parse_broker_address(std::string_view text, std::string_view where) {
  const auto wrong = [&](std::string_view expected) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("{}: expected {}, got \"{}\"", where, expected, log::escape(text)));
  };
  constexpr std::string_view form = "HOST[:PORT] or HOST[:PORT],HOST[:PORT]";
  std::string_view host = text;
  std::optional<std::string_view> port;
  const std::size_t bracket = host.rfind("]:");
  const bool one_colon = std::count(host.begin(), host.end(), ':') == 1;
  const std::size_t colon = bracket != std::string_view::npos ? bracket + 1
                            : one_colon                       ? host.find(':')
                                                              : std::string_view::npos;
  if (colon != std::string_view::npos) {
    port = host.substr(colon + 1);
    host = host.substr(0, colon);
  }
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  const bool ipv6 = std::count(host.begin(), host.end(), ':') >= 2;
  if (!(ipv6 ? is_ipv6(host) : is_name(host)) || (bracketed && !ipv6)) return wrong(form);
  BrokerAddress address{ipv6 ? fmt::format("[{}]", host) : std::string(host)};
  if (!port) return address;

  constexpr std::uint16_t port_max = UINT16_MAX - BrokerAddress::control_offset;
  std::uint16_t number = 0;
  const auto [end, error] = std::from_chars(port->data(), port->data() + port->size(), number);
  const bool is_number = error == std::errc{} && end == port->data() + port->size();
  if (!is_number || number == 0 || number > port_max) {
    return wrong(fmt::format("a port of 1..{} (of ingress; egress and control have the next two)", port_max));
  }
  // A broker's own endpoints, as its ready line and its messages show them.
  const bool is_default = number >= BrokerAddress::default_port &&
                          number <= BrokerAddress::default_port + BrokerAddress::control_offset;
  if (!is_default) address.port = number;
  return address;
}

}  // namespace backplane
