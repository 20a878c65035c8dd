#pragma once
// The options that name the broker, the same for every subcommand.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/command_line.hpp"
#include "cli/contexts.hpp"
#include "core/credentials/given_credentials.hpp"
#include "core/error/error.hpp"
#include "follower/broker_endpoints.hpp"

namespace backplane::cli {

/// The values of these options. Must live as long as the CommandLine.
struct AddressFlags {
  std::string broker{};  ///< HOST[:PORT][,HOST[:PORT]…]; empty if not given
  std::optional<std::string> ingress{};
  std::optional<std::string> egress{};
  std::optional<std::string> control{};
  std::string key{};         ///< a file; empty if not given
  std::string server_key{};  ///< the same
  std::string context{};     ///< a name; empty if not given

  [[nodiscard]] bool has_addresses() const { return !broker.empty() || ingress || egress || control; }
  [[nodiscard]] bool given() const { return has_addresses() || !key.empty() || !server_key.empty(); }
};

/// Adds --broker, --ingress, --egress, --control, --key and --server-key.
void add_endpoint_flags(const Command& command, AddressFlags& flags);
/// Adds the same and --context, for a command that people type: not for a daemon with a configuration file.
void add_address_flags(const Command& command, AddressFlags& flags);

/// The address of a broker or a gateway, and who named it.
struct NamedAddress {
  /// In the order of precedence.
  enum class By : std::uint8_t { option, chosen_context, environment, current_context, nobody };
  By by = By::nobody;
  std::string where{};    ///< how errors begin: `--broker`, `BACKPLANE_BROKER`, `context prod: broker`
  std::string value{};    ///< empty: nobody named one, or single endpoints are given by options
  std::string context{};  ///< the name of the context that was read, even if it names none; empty: none
  Context settings{};     ///< of that context, if it names one
};

/// Finds the address that `field` of a context, `option` or `variable` name: what the command line says comes
/// before the environment, and that before the current context. A context is read only if it is needed.
/// @param given     the option's value; empty if not given
/// @param is_given  whether the option, or one in its place, is given
Result<NamedAddress> find_address(std::string Context::*field, std::string_view option, const char* variable,
                                  const std::string& given, bool is_given, const AddressFlags& flags,
                                  const Environment& environment);
/// The broker of --broker, --context, BACKPLANE_BROKER or the current context.
Result<NamedAddress> find_broker(const AddressFlags& flags, const Environment& environment);

/// The endpoints of the brokers that the flags, the environment or a context name, at least one; if none of
/// them does, the local broker. `--broker HOST` means that host with the default ports; --ingress, --egress
/// and
/// --control replace an endpoint of a single host. All brokers have the same keys: those of the flags, of the
/// context whose address is used, or of the environment. An error names the flag, the variable or the
/// context.
Result<std::vector<BrokerEndpoints>> resolve(const AddressFlags& flags,
                                             const Environment& environment = process_environment());

/// The endpoints that the flags alone name, without keys.
Result<std::vector<BrokerEndpoints>> resolve_addresses(const AddressFlags& flags);

}  // namespace backplane::cli
