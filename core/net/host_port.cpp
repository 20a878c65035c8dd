#include "core/net/host_port.hpp"

#include <algorithm>
#include <charconv>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>

#include "core/log/escape.hpp"

namespace backplane {

Result<HostPort> parse_host_port(std::string_view text, std::string_view where) {
  const auto wrong = [&](std::string_view expected) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("{}: expected {}, got \"{}\"", where, expected, text));
  };
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0)
    return wrong("HOST:PORT such as 127.0.0.1:1601 or [::1]:1601");
  std::string_view host = text.substr(0, colon);
  if (host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string_view::npos) {
    return wrong("an IPv6 address in brackets such as [::1]:1601");
  }
  if (host.empty() || host.size() > 255 || host.find('\0') != std::string_view::npos) {
    return wrong("a host of 1..255 bytes");
  }
  const std::string_view port = text.substr(colon + 1);
  std::uint16_t number = 0;
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
  if (error != std::errc{} || end != port.data() + port.size()) return wrong("a port of 0..65535");
  return HostPort{std::string(host), number};
}

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

Result<std::string> parse_broker_host(std::string_view text, std::string_view where) {
  const auto wrong = [&](std::string_view expected) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("{}: expected {}, got \"{}\"", where, expected, log::escape(text)));
  };
  constexpr std::string_view form = "HOST or HOST,HOST without ports";
  std::string_view host = text;
  std::string_view port;
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
  const std::string written = ipv6 ? fmt::format("[{}]", host) : std::string(host);
  if (colon == std::string_view::npos || port == "5570" || port == "5571" || port == "5572") return written;
  return fail(
      ErrorCode::invalid_argument,
      fmt::format(
          "{}: expected HOST without a port, got \"{}\"; for other ports than 5570, 5571 and 5572, use "
          "--ingress tcp://{}:PORT, --egress tcp://{}:PORT and --control tcp://{}:PORT",
          where, log::escape(text), written, written, written));
}

}  // namespace backplane
