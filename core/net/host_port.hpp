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

}  // namespace backplane
