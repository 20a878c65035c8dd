#include "core/net/host_port.hpp"

#include <charconv>

#include <fmt/format.h>

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

}  // namespace backplane
