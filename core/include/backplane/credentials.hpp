#pragma once
// The keys with which a program connects to brokers that require them.

#include <string>

namespace backplane {

/// The files of two keys, which `backplane keys new` creates (docs/security.md). Both or neither: a
/// connection with keys is encrypted, and brokers that have no keys do not accept it. An empty name means the
/// file in the environment variable, if that is set. Keys are read once, by the constructor that takes this.
struct Credentials {
  std::string key_file{};         ///< this program's secret key, NAME.key; or BACKPLANE_KEY_FILE
  std::string server_key_file{};  ///< the brokers' public key, NAME.pub; or BACKPLANE_SERVER_KEY_FILE
};

}  // namespace backplane
