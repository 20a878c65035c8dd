#pragma once
// Retained values, asked for from the command line.

#include <chrono>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "cli/waiter.hpp"
#include "core/error/error.hpp"
#include "core/wire/stamp.hpp"
#include "core/zmq/socket.hpp"
#include "follower/broker_endpoints.hpp"
#include "follower/follower.hpp"

namespace backplane::cli {

/// The largest event that the command line takes from a broker: what a broker's own limit may be.
inline constexpr std::size_t readable_event_bytes_max = 256u << 20;

/// How a Follower reads from these brokers what it asks for, though it subscribes to nothing.
[[nodiscard]] Follower::Options follower_options(const std::vector<BrokerEndpoints>& brokers);

/// One event as a broker keeps it. Owns its bytes.
struct StoredValue {
  std::string topic;
  std::string event;  ///< stamped
  wire::Stamp stamp;

  [[nodiscard]] std::span<const std::byte> bytes() const { return std::as_bytes(std::span(event)); }
};

/// Asks for the last values of topics. Lives on the main thread; owns its connections, and subscribes to
/// nothing.
class RetainedReader {
 public:
  /// @param brokers at least one; `context` and `waiter` outlive it.
  RetainedReader(mq::Context& context, const std::vector<BrokerEndpoints>& brokers, Waiter& waiter);
  ~RetainedReader();
  RetainedReader(const RetainedReader&) = delete;
  RetainedReader& operator=(const RetainedReader&) = delete;

  /// The values of all topics that match one of `patterns`, one after the other. Blocks until they are there,
  /// `limit` is over or the waiter is stopped.
  Result<std::vector<StoredValue>> read(const std::vector<std::string>& patterns,
                                        std::chrono::milliseconds limit);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace backplane::cli
