#pragma once
// The options of a command that can connect to a gateway.

#include <optional>
#include <string>

#include "cli/address_flags.hpp"
#include "cli/command_line.hpp"
#include "cli/connection/gateway_endpoint.hpp"
#include "core/credentials/given_credentials.hpp"
#include "core/error/error.hpp"

namespace backplane::cli {

/// The values of these options; texts are empty if they are not given. Must live as long as the CommandLine.
struct GatewayClientFlags {
  std::string gateway{};  ///< HOST:PORT
  bool tls{};
  std::string ca{};
  std::string token_file{};
  std::string certificate{};
  std::string key{};
};

/// Adds --gateway, --tls, --ca, --token-file, --tls-certificate and --tls-key. `about` is the help of the
/// first.
void add_gateway_client_flags(const Command& command, GatewayClientFlags& flags, const std::string& about);

/// The gateway that the flags name; nothing if they name none. A CA file and the token can also come from the
/// environment: BACKPLANE_CA_FILE, BACKPLANE_TOKEN_FILE or BACKPLANE_TOKEN. A CA file, a certificate or --tls
/// means TLS. Reads the files. @returns an error that names the option or the variable, and never contains
/// the token: also if the token would be sent to another machine without TLS.
Result<std::optional<GatewayEndpoint>> resolve_gateway(const GatewayClientFlags& flags,
                                                       const AddressFlags& addresses,
                                                       const Environment& environment);

}  // namespace backplane::cli
