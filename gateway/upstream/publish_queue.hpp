#pragma once
// Events of clients that wait for the broker.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "backplane/publisher.hpp"
#include "fanout/log/ids.hpp"
#include "gateway/session/event_parts.hpp"

namespace backplane::gateway {

/// Publishes events to the broker, as a Publisher does. No function blocks.
class EventPublisher {
 public:
  virtual ~EventPublisher() = default;
  virtual Offer offer(std::string_view topic, std::string_view text) = 0;
  /// The same with other parts.
  virtual Offer offer_with_parts(std::string_view topic, std::string_view text, const EventParts& /*parts*/) {
    return offer(topic, text);
  }
  virtual PublisherStatus status() = 0;
  virtual void request_confirmation() = 0;
};

/// Receives the results of clients' events.
class PublishListener {
 public:
  virtual ~PublishListener() = default;
  /// Reports one event of a client, in the order in which the client published them. `code` is empty if the
  /// broker has admitted the event; else it is for programs, and `text` for people.
  virtual void on_published(fanout::ClientId client, std::string_view topic, std::size_t bytes,
                            std::string_view code, std::string_view text) = 0;
  /// The same for an event whose parts have a tag, which is not 0.
  virtual void on_tagged(fanout::ClientId /*client*/, std::uint32_t /*tag*/, std::size_t /*bytes*/,
                         std::string_view /*code*/, std::string_view /*text*/) {}
};

/// Queues events until a broker is connected, and reports each event when the broker has admitted or refused
/// it. Lives on one thread, which calls pump(). Owns the events that wait.
class PublishQueue {
 public:
  using Clock = std::chrono::steady_clock;

  /// `publisher` and `listener` outlive it.
  /// @param timeout how long an event may wait for a broker and for its confirmation
  /// @param waiting_bytes_max limit for the texts of events that have not been sent
  PublishQueue(EventPublisher& publisher, PublishListener& listener, std::chrono::milliseconds timeout,
               std::size_t waiting_bytes_max);

  /// Queues an event. The listener gets its result, perhaps before this returns, even if the client has left
  /// by then.
  void publish(fanout::ClientId client, std::string topic, std::string text, Clock::time_point now,
               std::unique_ptr<const EventParts> parts = nullptr);

  /// Whether events are sent at once.
  [[nodiscard]] bool has_broker() const {
    const PublisherStatus status = publisher_.status();
    return status.ready && !status.draining;
  }
  /// The text for an event that was not sent in time.
  static constexpr std::string_view no_broker =
      "timeout: no broker is connected, the event was not published";
  /// Counts an event that was not queued, and reports it. `code` is a static string.
  void refuse(fanout::ClientId client, std::string_view topic, std::size_t bytes, std::string_view text,
              std::string_view code = "unavailable", const EventParts* parts = nullptr);

  /// Sends events that wait, and reports results. Called when the publisher's status has changed, and at
  /// next_deadline().
  void pump(Clock::time_point now);
  [[nodiscard]] Clock::time_point next_deadline() const;

  /// received = admitted + refused + waiting.
  struct Counters {
    std::uint64_t received{};
    std::uint64_t admitted{};
    std::uint64_t refused{};  ///< includes timeouts
    std::uint64_t waiting{};  ///< now
  };
  [[nodiscard]] Counters counters() const noexcept {
    Counters counters = counters_;
    counters.waiting = entries_.size() - expired_;
    return counters;
  }

 private:
  struct Entry {
    std::optional<fanout::ClientId> client;  ///< nothing: the result has been reported
    std::string topic;
    std::string text;  ///< empty once it has been sent
    std::size_t bytes;
    Clock::time_point deadline;
    std::uint64_t sequence{};  ///< the publisher's; 0: not sent
    std::string_view code{};   ///< why it cannot be sent
    std::unique_ptr<const EventParts> parts{};
  };

  void send();
  void report_results();
  void expire(Clock::time_point now);
  void finish_first(std::string_view code, std::string_view text);
  void report(Entry& entry, std::string_view code, std::string_view text);
  void notify(fanout::ClientId client, std::string_view topic, std::size_t bytes, const EventParts* parts,
              std::string_view code, std::string_view text);

  EventPublisher& publisher_;
  PublishListener& listener_;
  std::chrono::milliseconds timeout_;
  std::size_t waiting_bytes_max_;
  std::deque<Entry> entries_;  // in order of arrival, of deadlines and of sequences
  std::size_t sent_{};         // entries that have been sent or cannot be sent, from the front
  std::size_t expired_{};      // entries that have timed out, from the front: the publisher still has them
  std::size_t waiting_bytes_{};
  std::uint64_t offered_{};  // sequence of the last event that the publisher accepted
  std::uint64_t refused_seen_{};
  Counters counters_;
};

}  // namespace backplane::gateway
