#pragma once
// The keys with which a program connects to brokers.

#include <string>
#include <string_view>

#include "backplane/credentials.hpp"
#include "core/credentials/given_credentials.hpp"
#include "core/error/error.hpp"
#include "core/zmq/client_keys.hpp"

namespace backplane {

/// Reads the keys for connections to brokers, as read_credentials() does; tokens are for gateways, and are
/// not looked at. @returns nullptr if no keys are given; an error if one of the two is given without the
/// other:
///          `--key: expected a server key with it (--server-key or BACKPLANE_SERVER_KEY_FILE), got none`.
Result<mq::SharedKeys> read_broker_keys(const CredentialFiles& files, const Environment& environment,
                                        const CredentialOptions& options = {});

/// The same for the options of a library, and the environment of this process. Throws std::invalid_argument
/// instead of returning an error; its text begins with `key_file` or `server_key_file`.
mq::SharedKeys keys_of(const Credentials& files);

/// The beginning of the public key, as it ends a name: `-1f3a90c2`; "" without keys.
[[nodiscard]] std::string key_suffix(const mq::SharedKeys& keys);

/// What a program calls itself at a broker if it is given no name: `what@host`. A broker with a policy lets
/// one user at a time have a name, and every user starts the same programs: with keys, the beginning of the
/// public key is part of the name, `what@host-1f3a90c2`.
[[nodiscard]] std::string default_name(std::string_view what, const mq::SharedKeys& keys);

}  // namespace backplane
