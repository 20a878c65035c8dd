#pragma once
// Loads, and their results.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "bench/gateway/peers.hpp"
#include "bench/gateway/socket_memory.hpp"

namespace backplane::bench {

struct Server {
  std::string name;
  MakePeer make;
};

struct Load {
  std::size_t clients{};
  std::size_t stalled{};           ///< more clients, which read nothing
  std::size_t topics_a_client{1};  ///< 1: one topic for all clients; more: each client has its own
  std::uint64_t events{};
  double events_a_second{};  ///< 0: as fast as the clients receive them
  /// Limit of events in flight: no server needs more memory than another.
  std::uint64_t window{2048};
};

struct Outcome {
  double deliveries_a_second{};
  double cpu_us{};  ///< per delivery
  double p50_us{};
  double p99_us{};
  std::uint64_t lost{};
  std::uint64_t faults{};
  SocketMemory unread;  ///< in the kernel, for clients that did not read
};

/// Topic names of equal length, by number.
[[nodiscard]] std::string topic_name(std::size_t number);

/// Starts a server, connects the clients, publishes, and waits until everything has been delivered or nothing
/// arrives any more.
[[nodiscard]] Outcome run(const Server& server, const Load& load);

}  // namespace backplane::bench
