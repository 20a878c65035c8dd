#pragma once
// The configuration of `backplane serve`: that of a broker and that of a gateway, which belong together.

#include <string>
#include <vector>

#include "cli/configuration.hpp"
#include "core/config/source.hpp"

namespace backplane::cli {

/// Makes one configuration of both: [gateway] serves the backplane called "default", or else the first one,
/// and each [[gateway.backplane]] the [[backplane]] of its name. The gateway uses no keys, because its broker
/// is in the same process, and has the address of [metrics] for the pages of both. The gateway's own
/// addresses of a broker (`ingress`, `egress`, `control`) are not used.
/// @returns what contradicts that, one line each; empty: nothing.
[[nodiscard]] std::vector<std::string> make_one_process(const config::Source& source,
                                                        Configuration& configuration);

}  // namespace backplane::cli
