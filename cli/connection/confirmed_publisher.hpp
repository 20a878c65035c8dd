#pragma once
// Publishing from the command line: done means admitted.

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

/// A Publisher for a command that ends. Lives on the main thread; owns the publisher, whose thread does no
/// more here than wake this one.
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

  [[nodiscard]] Publisher& publisher() noexcept { return publisher_; }

  /// Waits until a broker has us, at most `limit`: what is to keep a pace begins then.
  void wait_ready(std::chrono::milliseconds limit);

  /// Offers an event, and waits where the unconfirmed ones fill their bound: until the waiter is stopped, or
  /// the broker has confirmed nothing for `limit`. @returns what became of it.
  [[nodiscard]] Offer offer(const std::function<Offer(Publisher&)>& offer, std::chrono::milliseconds limit);

  /// Waits until the broker has dealt with everything that was offered, as long as it goes on, at most
  /// `limit` without progress. @returns an empty text, or why not all of it was admitted, as one line.
  [[nodiscard]] std::string finish(std::chrono::milliseconds limit);

 private:
  void report();
  [[nodiscard]] std::string endpoints() const;

  std::vector<BrokerEndpoints> brokers_;
  Waiter& waiter_;
  std::function<void(std::string_view)> on_notice_;
  WakeFd changed_;
  bool was_ready_{};
  bool told_waiting_{};
  Publisher publisher_;
};

}  // namespace backplane::cli
