#pragma once
// Reading what a broker has stored: the last value of each topic, or history.

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "cli/connection/waiter.hpp"
#include "core/error/error.hpp"
#include "core/wire/stamp.hpp"
#include "core/zmq/socket.hpp"
#include "follower/broker_endpoints.hpp"
#include "follower/control/replay_slice.hpp"
#include "follower/order/delivery.hpp"

namespace backplane::cli {

/// The largest event that the command line reads from a broker: the largest limit that a broker can be
/// configured with.
inline constexpr std::size_t readable_event_bytes_max = 256u << 20;

/// An event with its topic. Owns its bytes.
struct StoredEvent {
  std::string topic;
  std::string event;  ///< stamped
  wire::Stamp stamp;

  [[nodiscard]] std::span<const std::byte> bytes() const { return std::as_bytes(std::span(event)); }
};

/// Reads stored events from the first of some brokers that replies. Lives on the main thread; owns its
/// connections, which are to control endpoints only: it subscribes to nothing. Each method blocks until it
/// has read everything, its limit is over or the waiter is stopped. Errors say what was found at the
/// endpoints.
class StoredEvents {
 public:
  /// @param brokers at least one; `context` and `waiter` outlive it.
  StoredEvents(mq::Context& context, const std::vector<BrokerEndpoints>& brokers, Waiter& waiter);
  ~StoredEvents();
  StoredEvents(const StoredEvents&) = delete;
  StoredEvents& operator=(const StoredEvents&) = delete;

  /// The last values of all topics that match one of `patterns`, grouped by pattern.
  /// @param limit  for all of them together
  /// @returns the values; or an error, also if the waiter was stopped.
  Result<std::vector<StoredEvent>> last_values(const std::vector<std::string>& patterns,
                                               std::chrono::milliseconds limit);

  /// History that matches `pattern`, in position order, up to the present.
  /// @param take           called for each event, whose views are valid during the call; false stops the
  /// replay
  /// @param silence_limit  how long the broker may send nothing
  /// @returns one line that says what history no longer has, empty if nothing is missing; or an error, before
  ///          which `take` may have been called. If the waiter was stopped, it returns without an error.
  Result<std::string> replay(const std::string& pattern, const ReplayFrom& from,
                             const std::function<bool(const Delivery&)>& take,
                             std::chrono::milliseconds silence_limit);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace backplane::cli
