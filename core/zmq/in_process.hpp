#pragma once
// ZeroMQ endpoints within a process.

#include <string_view>

namespace backplane::mq {

/// Whether an endpoint is in this process (inproc://NAME). libzmq connects it at once and never again, tells
/// no Monitor about it, and uses no keys.
[[nodiscard]] constexpr bool is_in_process(std::string_view endpoint) noexcept {
  return endpoint.starts_with("inproc://");
}

}  // namespace backplane::mq
