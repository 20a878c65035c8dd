#pragma once
// HOST:PORT, as people write it.

#include <cstdint>
#include <string>
#include <string_view>

#include "core/error/error.hpp"

namespace backplane {

/// A host and a port to listen on or connect to, not yet resolved.
struct HostPort {
  std::string host;  ///< a name or an address; IPv6 without its brackets
  std::uint16_t port{};
};

/// Parses `127.0.0.1:1601`, `localhost:0`, `[::1]:1601`. `where` begins the error.
Result<HostPort> parse_host_port(std::string_view text, std::string_view where);

/// Parses the host of a broker, which has the default ports: a name, an IPv4 address, or an IPv6 address with
/// or without brackets. One of the default ports (5570, 5571, 5572) may follow. `where` begins the error.
/// @returns the host as an endpoint has it: without a port, IPv6 in brackets.
Result<std::string> parse_broker_host(std::string_view text, std::string_view where);

}  // namespace backplane
