#pragma once
// How the file descriptors of a gateway are divided.

#include <cstddef>
#include <cstdint>

#include "gateway/config/config.hpp"

namespace backplane::gateway {

/// The descriptors that clients may use, and those that the gateway keeps for itself: if clients had all of
/// them, one that becomes free would go to the next client that waits, and never to a connection to a broker.
struct DescriptorBudget {
  /// Clients use descriptors below this one. It may be lower than what the gateway itself has open; then no
  /// client is served.
  int clients_end{};
  std::size_t refused_max{};              ///< connections of each backplane that are being refused
  std::size_t metrics_connections_max{};  ///< on the port of `metrics`
};

/// @param open_files_max the limit of the process
[[nodiscard]] DescriptorBudget descriptor_budget(const GatewayConfig& config, std::uint64_t open_files_max);

}  // namespace backplane::gateway
