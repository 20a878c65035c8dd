#pragma once
// The addresses group: how every subcommand is told where the broker is.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/command_line.hpp"
#include "core/error/error.hpp"
#include "follower/broker_endpoints.hpp"

namespace backplane::cli {

/// What the command line says of them. Lives as long as the CommandLine that it was added to.
struct AddressFlags {
  std::string broker{};  ///< HOST[,HOST…]; empty: not given
  std::optional<std::string> ingress{};
  std::optional<std::string> egress{};
  std::optional<std::string> control{};

  [[nodiscard]] bool given() const { return !broker.empty() || ingress || egress || control; }
};

/// Adds --broker, --ingress, --egress and --control.
void add_address_flags(const Command& command, AddressFlags& flags);

/// The brokers meant, at least one: the local one where nothing is given. `--broker HOST` is that host
/// with the default ports; an endpoint beside it replaces that one's. An error names the flag.
Result<std::vector<BrokerEndpoints>> resolve(const AddressFlags& flags);

}  // namespace backplane::cli
