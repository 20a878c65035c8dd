#pragma once
// The options of the commands that run a gateway, except those about brokers.

#include <optional>
#include <string>
#include <vector>

#include "cli/command_line.hpp"
#include "core/config/source.hpp"
#include "core/error/error.hpp"

namespace backplane::cli {

/// The values of these options. Must live as long as the CommandLine.
struct GatewayFlags {
  std::vector<std::string> listen;
  std::optional<std::string> workers;
  std::vector<std::string> tls_certificate;
  std::vector<std::string> tls_key;
  std::optional<std::string> tls_client_ca;
  bool tls_required{};
  bool no_tls_required{};
};

/// Adds --listen, --workers and those about TLS.
void add_gateway_flags(const Command& command, GatewayFlags& flags);

/// Puts the values in place of the file's. An error if they contradict each other.
Result<void> set_gateway_flags(config::Source& source, const GatewayFlags& flags);

}  // namespace backplane::cli
