#pragma once
// The keys with which a program connects to brokers.

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

}  // namespace backplane
