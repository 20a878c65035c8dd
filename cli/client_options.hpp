#pragma once
// The client library, as the commands that read events use it.

#include <string_view>
#include <vector>

#include <backplane/client.hpp>

#include "follower/broker_endpoints.hpp"

namespace backplane::cli {

/// A client of all these brokers, of which there is at least one. It reads events of any size that a broker
/// may admit, and its name is default_name() of the command.
[[nodiscard]] Client::Options client_options(std::string_view command,
                                             const std::vector<BrokerEndpoints>& brokers);

}  // namespace backplane::cli
