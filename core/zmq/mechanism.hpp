#pragma once
// The security mechanism of a ZeroMQ server.

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace backplane::mq {

/// What ZMTP 3 calls a mechanism (https://rfc.zeromq.org/spec/23).
enum class Mechanism : std::uint8_t {
  unknown,  ///< no greeting, or one with another mechanism
  null,     ///< no security
  curve,
};

/// The mechanism in a greeting, of which each peer sends one. Only of a complete greeting (64 bytes).
[[nodiscard]] Mechanism mechanism_in(std::string_view greeting);

/// Connects to a ZeroMQ endpoint as a client would, and reads the greeting. Blocks until it is there, `limit`
/// at most. `endpoint` is tcp:// with a numeric address, or ipc://; others are unknown.
[[nodiscard]] Mechanism server_mechanism(const std::string& endpoint, std::chrono::milliseconds limit);

}  // namespace backplane::mq
