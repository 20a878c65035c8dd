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

/// The address of --gateway, --context, BACKPLANE_GATEWAY or the current context.
Result<NamedAddress> find_gateway_address(const GatewayClientFlags& flags, const AddressFlags& addresses,
                                          const Environment& environment);

/// The gateway at that address, with TLS and the token. Reads the files.
Result<GatewayEndpoint> gateway_endpoint(const NamedAddress& gateway, const GatewayClientFlags& flags,
                                         const Environment& environment);

/// The gateway to connect to; nothing if the command connects to a broker. Like a broker's, its address is
/// that of --gateway, --context, BACKPLANE_GATEWAY or the current context. If both a broker and a gateway are
/// named, what comes first in this order decides; if they are named in the same place, the broker is used,
/// unless an option for gateways is given. The files and the token are those of the options, of the context
/// whose address is used, or of the environment: BACKPLANE_CA_FILE, BACKPLANE_TLS_CERTIFICATE_FILE and
/// BACKPLANE_TLS_KEY_FILE, BACKPLANE_TOKEN_FILE or BACKPLANE_TOKEN. A CA file, a certificate or --tls means
/// TLS. Reads the files. @returns an error that names the option, the variable or the context, and never
/// contains the token: also if the token would be sent to another machine without TLS.
Result<std::optional<GatewayEndpoint>> resolve_gateway(const GatewayClientFlags& flags,
                                                       const AddressFlags& addresses,
                                                       const Environment& environment);

}  // namespace backplane::cli
