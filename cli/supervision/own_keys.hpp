#pragma once
// The keys with which the programs of `up` connect to its broker.

#include <string>
#include <string_view>

#include "broker/config.hpp"
#include "core/error/error.hpp"
#include "core/zmq/client_keys.hpp"

namespace backplane::cli {

/// With a policy, the gateway, the publishers and the status line of `up` are clients of its broker like
/// others. They have the broker's own key, so a user of the policy must have it, too.
///
/// @param server_key_file   the broker's public key; "": NAME.pub beside NAME.key
/// @param server_key_place  where that is configured, as errors begin
/// @returns nullptr without a policy; an error if the files do not belong together, or if the gateway or the
///          status line could not work
[[nodiscard]] Result<mq::SharedKeys> own_keys(const broker::BrokerConfig& broker, std::string server_key_file,
                                              std::string_view server_key_place);

}  // namespace backplane::cli
