#pragma once
// A process of `backplane link`.

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "core/process/exit_code.hpp"
#include "core/process/signals.hpp"
#include "follower/broker_endpoints.hpp"
#include "links/link.hpp"

namespace backplane::links {

struct ServiceOptions {
  LinkOptions link;
  std::vector<BrokerEndpoints> from;  ///< at least one
  std::vector<BrokerEndpoints> to;    ///< at least one; all have the same keys
  std::filesystem::path state;        ///< a folder; empty: none
  std::string state_name;             ///< of the file in `state`
  std::string metrics = "off";        ///< HOST:PORT, or "off"
};

/// Passes on events until a signal. Prints the ready line when it is connected to all brokers of `from` and
/// to one of `to`. One link for each broker of `from`, all on the main thread.
ExitCode run_links(const ServiceOptions& options, Signals& signals);

}  // namespace backplane::links
