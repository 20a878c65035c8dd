#pragma once
// The options that name the broker, the same for every subcommand.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/command_line.hpp"
#include "core/error/error.hpp"
#include "follower/broker_endpoints.hpp"

namespace backplane::cli {

/// The values of these options. Must live as long as the CommandLine.
struct AddressFlags {
  std::string broker{};  ///< HOST[,HOST…]; empty if not given
  std::optional<std::string> ingress{};
  std::optional<std::string> egress{};
  std::optional<std::string> control{};
  std::string key{};         ///< a file; empty if not given
  std::string server_key{};  ///< the same

  [[nodiscard]] bool has_addresses() const { return !broker.empty() || ingress || egress || control; }
  [[nodiscard]] bool given() const { return has_addresses() || !key.empty() || !server_key.empty(); }
};

/// Adds --broker, --ingress, --egress, --control, --key and --server-key.
void add_address_flags(const Command& command, AddressFlags& flags);

/// The endpoints of the brokers that the flags name, at least one; without flags, the local broker. `--broker
/// HOST` means that host with the default ports; --ingress, --egress and --control replace an endpoint of a
/// single host. All brokers have the same keys: those of the flags, or of the environment. An error names the
/// flag.
Result<std::vector<BrokerEndpoints>> resolve(const AddressFlags& flags);

/// The same without keys.
Result<std::vector<BrokerEndpoints>> resolve_addresses(const AddressFlags& flags);

}  // namespace backplane::cli
