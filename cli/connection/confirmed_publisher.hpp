#pragma once
// A publisher for commands that exit when their events are admitted.

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <backplane/publisher.hpp>

#include "cli/connection/waiter.hpp"
#include "core/process/wake_fd.hpp"
#include "follower/broker_endpoints.hpp"

namespace backplane::cli {

/// Publishes, and waits until the broker has admitted everything. Lives on the main thread; owns a Publisher,
/// whose own thread only wakes this one.
class ConfirmedPublisher {
 public:
  /// @param name       begins the publisher's source name: `pub@host7`
  /// @param on_notice  called on the main thread, with one line, when the connection is lost or back
  ConfirmedPublisher(const std::string& name, const std::vector<BrokerEndpoints>& brokers,
                     std::size_t max_event_bytes, Waiter& waiter,
                     std::function<void(std::string_view)> on_notice);
  ~ConfirmedPublisher();
  ConfirmedPublisher(const ConfirmedPublisher&) = delete;
  ConfirmedPublisher& operator=(const ConfirmedPublisher&) = delete;

  /// Blocks until a broker is connected, `limit` at most, so that connecting does not disturb the pace of the
  /// events.
  /// @returns at once why there is no broker, if nothing listens at any of them, or if they do not accept our
  ///          keys; else an empty string.
  [[nodiscard]] std::string wait_ready(std::chrono::milliseconds limit);

  /// Calls `offer`, again and again while the bound on unconfirmed events is reached. Blocks until the event
  /// is accepted or refused, the waiter is stopped, or the broker has confirmed nothing for `limit`.
  /// @returns the last result of `offer`.
  [[nodiscard]] Offer offer(const std::function<Offer(Publisher&)>& offer, std::chrono::milliseconds limit);

  [[nodiscard]] PublisherStatus status() const { return publisher_.status(); }
  /// Publisher::request_confirmation().
  void request_confirmation() { publisher_.request_confirmation(); }

  /// The limit on one event now: ours, or the connected broker's if it is lower.
  [[nodiscard]] std::uint64_t event_bytes_max() const { return publisher_.status().event_bytes_max; }

  /// Blocks until the broker has admitted or refused every event, or has confirmed nothing for `limit`, and
  /// closes the publisher.
  /// @returns why not all events were admitted, as one line; empty if all were.
  [[nodiscard]] std::string finish(std::chrono::milliseconds limit);

 private:
  void report();
  [[nodiscard]] std::string endpoints() const;

  std::vector<BrokerEndpoints> brokers_;
  Waiter& waiter_;
  std::function<void(std::string_view)> on_notice_;
  WakeFd changed_;
  bool was_ready_{};
  bool reported_lost_{};
  Publisher publisher_;
};

}  // namespace backplane::cli
