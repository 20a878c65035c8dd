#pragma once
// Clients' events that wait until the subscriptions that the same client requested before them are active.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "gateway/upstream/publish_queue.hpp"

namespace backplane::gateway {

/// A client that subscribes and then publishes gets its own event, even if both commands arrive in one
/// packet: without the gate, the broker could publish the event before it has the subscription. A client's
/// events stay in order. Lives on the hub's thread. Owns the events that wait.
class PublishGate {
 public:
  using Clock = std::chrono::steady_clock;
  /// Whether a subscription that the client requested before the event is not active yet. `ticket` is 0 at
  /// the first call for an event, and belongs to the callee.
  using MustWait = std::function<bool(fanout::ClientId client, std::uint64_t& ticket)>;
  /// Called when an event's turn has come. @returns why its client may not publish the topic: a code, which
  /// is a static string, and a text. An empty code permits it.
  using Refusal = std::pair<std::string_view, std::string>;
  using Check = std::function<Refusal(fanout::ClientId client, std::string_view topic)>;

  /// `queue` outlives it.
  /// @param timeout how long an event may wait here: then it is published if a broker is connected
  /// @param bytes_max limit for the texts of events that wait here
  PublishGate(PublishQueue& queue, MustWait must_wait, std::chrono::milliseconds timeout,
              std::size_t bytes_max, Check check = nullptr)
      : queue_(queue),
        must_wait_(std::move(must_wait)),
        check_(std::move(check)),
        timeout_(timeout),
        bytes_max_(bytes_max) {}

  /// As PublishQueue::publish().
  void publish(fanout::ClientId client, std::string topic, std::string text, Clock::time_point now,
               std::unique_ptr<const EventParts> parts = nullptr) {
    std::uint64_t ticket = 0;
    const bool behind_others = clients_.contains(client);
    if (!must_wait_(client, ticket) && !behind_others)
      return pass(client, std::move(topic), std::move(text), now, std::move(parts));
    if (bytes_ + text.size() > bytes_max_) {
      return queue_.refuse(client, topic, text.size(),
                           "too many events wait for the broker: the event was not published", "unavailable",
                           parts.get());
    }
    bytes_ += text.size();
    clients_.insert(client);
    entries_.push_back({client, std::move(topic), std::move(text), ticket, now + timeout_, std::move(parts)});
  }

  /// Publishes the events whose subscriptions are active. Call it when subscriptions may have become active,
  /// and at next_deadline().
  void pump(Clock::time_point now) {
    if (entries_.empty()) return;
    clients_.clear();  // those of which an event still waits
    for (Entry& entry : std::exchange(entries_, {})) {
      const bool waits = clients_.contains(entry.client) || must_wait_(entry.client, entry.ticket);
      if (!waits || (entry.deadline <= now && queue_.has_broker())) {
        bytes_ -= entry.text.size();
        pass(entry.client, std::move(entry.topic), std::move(entry.text), now, std::move(entry.parts));
      } else if (entry.deadline <= now) {
        bytes_ -= entry.text.size();
        queue_.refuse(entry.client, entry.topic, entry.text.size(), PublishQueue::no_broker, "unavailable",
                      entry.parts.get());
      } else {
        clients_.insert(entry.client);
        entries_.push_back(std::move(entry));
      }
    }
  }
  [[nodiscard]] Clock::time_point next_deadline() const {
    return entries_.empty() ? Clock::time_point::max() : entries_.front().deadline;
  }
  [[nodiscard]] std::size_t waiting() const noexcept { return entries_.size(); }

 private:
  struct Entry {
    fanout::ClientId client;
    std::string topic;
    std::string text;
    std::uint64_t ticket{};
    Clock::time_point deadline;
    std::unique_ptr<const EventParts> parts{};
  };

  void pass(fanout::ClientId client, std::string topic, std::string text, Clock::time_point now,
            std::unique_ptr<const EventParts> parts) {
    if (check_) {
      const auto [code, why] = check_(client, topic);
      if (!code.empty()) return queue_.refuse(client, topic, text.size(), why, code, parts.get());
    }
    queue_.publish(client, std::move(topic), std::move(text), now, std::move(parts));
  }

  PublishQueue& queue_;
  MustWait must_wait_;
  Check check_;
  std::chrono::milliseconds timeout_;
  std::size_t bytes_max_;
  std::deque<Entry> entries_;  // in order of arrival
  std::set<fanout::ClientId> clients_;
  std::size_t bytes_{};
};

}  // namespace backplane::gateway
