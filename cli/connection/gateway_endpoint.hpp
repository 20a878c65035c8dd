#pragma once
// How to connect to a gateway.

#include <memory>
#include <optional>
#include <string>

#include "cli/connection/tls_client.hpp"
#include "core/credentials/given_credentials.hpp"
#include "core/net/host_port.hpp"

namespace backplane::cli {

struct GatewayEndpoint {
  std::string address{};  ///< HOST:PORT as the user wrote it
  HostPort place{};       ///< the same, parsed
  /// nullptr: without TLS. Then there is no token, unless the host is a loopback address.
  std::shared_ptr<const TlsClient> tls{};
  std::optional<Token> token{};
};

}  // namespace backplane::cli
