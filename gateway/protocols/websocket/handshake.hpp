#pragma once
// The request that turns an HTTP connection into a WebSocket.

#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "core/error/error.hpp"

namespace backplane::gateway::websocket {

/// The parts of an HTTP request that a handshake consists of. Points into the request.
struct UpgradeRequest {
  std::string_view method;
  unsigned version{11};                                                   ///< 11 is HTTP/1.1
  std::span<const std::pair<std::string_view, std::string_view>> fields;  ///< name and value of each
};

/// Why a request is no handshake: an HTTP status, and a line for people. A 426 is sent with the fields
/// `Upgrade: websocket`, `Connection: upgrade` and `Sec-WebSocket-Version: 13`.
struct UpgradeRefusal {
  unsigned status{};
  std::string text;
};

/// The complete HTTP/1.1 response: 101 Switching Protocols, with neither extensions nor subprotocols.
/// Any thread.
[[nodiscard]] tl::expected<std::string, UpgradeRefusal> answer_upgrade(const UpgradeRequest& request);

}  // namespace backplane::gateway::websocket
