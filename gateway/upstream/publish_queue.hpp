#pragma once
// Events that clients publish, until the broker has admitted each.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>

#include "backplane/publisher.hpp"
#include "fanout/log/ids.hpp"

namespace backplane::gateway {

/// The publishing half of the broker, as a Publisher has it. None of it blocks.
class EventPublisher {
 public:
  virtual ~EventPublisher() = default;
  virtual Offer offer(std::string_view topic, std::string_view text) = 0;
  virtual PublisherStatus status() = 0;
  virtual void request_confirmation() = 0;
};

/// Who is told what became of clients' events.
class PublishListener {
 public:
  virtual ~PublishListener() = default;
  /// One of the client's events is dealt with, in the order in which they came. `code` is empty where the
  /// broker has admitted it, else a word for programs, with a text for people.
  virtual void on_published(fanout::ClientId client, std::string_view topic, std::size_t bytes,
                            std::string_view code, std::string_view text) = 0;
};

/// A queue at the door of the broker. Lives on one thread, which calls pump(); owns what waits.
class PublishQueue {
 public:
  using Clock = std::chrono::steady_clock;

  /// `publisher` and `listener` outlive it.
  /// @param timeout how long an event may wait for a broker, or for its answer
  /// @param waiting_bytes_max of events that no broker has been there for
  PublishQueue(EventPublisher& publisher, PublishListener& listener, std::chrono::milliseconds timeout,
               std::size_t waiting_bytes_max);

  /// Queues an event; what becomes of it is told now or later. That its client has gone changes nothing.
  void publish(fanout::ClientId client, std::string topic, std::string text, Clock::time_point now);

  /// Hands on what waits and tells what is known. To be called when the publisher's status has changed, and
  /// at next_deadline().
  void pump(Clock::time_point now);
  [[nodiscard]] Clock::time_point next_deadline() const;

  /// received = admitted + refused + waiting.
  struct Counters {
    std::uint64_t received{};
    std::uint64_t admitted{};
    std::uint64_t refused{};  ///< or not answered in time
    std::uint64_t waiting{};  ///< now: for an answer
  };
  [[nodiscard]] Counters counters() const noexcept {
    Counters counters = counters_;
    counters.waiting = entries_.size() - expired_;
    return counters;
  }

 private:
  struct Entry {
    std::optional<fanout::ClientId> client;  ///< none: it has been told already
    std::string topic;
    std::string text;  ///< emptied when it is handed on
    std::size_t bytes;
    Clock::time_point deadline;
    std::uint64_t sequence{};  ///< the publisher's; 0: not handed on
    std::string_view code{};   ///< why it is not to be handed on
  };

  void hand_on();
  void take_answers();
  void expire(Clock::time_point now);
  void end_first(std::string_view code, std::string_view text);
  void tell(Entry& entry, std::string_view code, std::string_view text);

  EventPublisher& publisher_;
  PublishListener& listener_;
  std::chrono::milliseconds timeout_;
  std::size_t waiting_bytes_max_;
  std::deque<Entry> entries_;  // by arrival, and so by deadline and by sequence
  std::size_t handed_on_{};    // of entries_, from the front
  std::size_t expired_{};      // the same: told that they took too long, kept as the publisher still has them
  std::size_t waiting_bytes_{};
  std::uint64_t offered_{};  // sequence of the last event that the publisher took
  std::uint64_t refused_seen_{};
  Counters counters_;
};

}  // namespace backplane::gateway
