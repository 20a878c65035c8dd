#pragma once
// The keys with which a program connects to a broker.

#include <memory>
#include <optional>

#include "backplane/credentials.hpp"
#include "core/zmq/socket.hpp"

namespace backplane::mq {

/// The keys, and the files that they come from. Immutable once shared.
struct ClientKeys {
  CurveClient curve;
  Credentials files;
};

/// nullptr: the broker requires no keys.
using SharedKeys = std::shared_ptr<const ClientKeys>;

/// The files of the keys, for a library that reads them itself.
[[nodiscard]] inline Credentials files_of(const SharedKeys& keys) {
  return keys ? keys->files : Credentials{};
}

/// For SocketOptions::curve_client.
[[nodiscard]] inline std::optional<CurveClient> curve_of(const SharedKeys& keys) {
  return keys ? std::optional(keys->curve) : std::nullopt;
}

}  // namespace backplane::mq
