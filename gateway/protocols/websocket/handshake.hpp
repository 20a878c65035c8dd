#pragma once
// The request that makes a WebSocket of an HTTP connection.

#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "core/error/error.hpp"

namespace backplane::gateway::websocket {

/// What matters of an HTTP request, which has been read as one. Valid as long as the request.
struct UpgradeRequest {
  std::string_view method;
  std::string_view target;
  unsigned version{11};                                                   ///< 11 is HTTP/1.1
  std::span<const std::pair<std::string_view, std::string_view>> fields;  ///< name and value of each
};

/// Why it cannot be one: a status of HTTP, and a line for people. A 426 goes with the fields
/// `Upgrade: websocket`, `Connection: upgrade` and `Sec-WebSocket-Version: 13`.
struct UpgradeRefusal {
  unsigned status{};
  std::string text;
};

/// What HTTP/1.1 answers, head and end: 101 Switching Protocols, with neither extensions nor subprotocols.
/// Any thread; some 60 us.
[[nodiscard]] tl::expected<std::string, UpgradeRefusal> answer_upgrade(const UpgradeRequest& request);

}  // namespace backplane::gateway::websocket
