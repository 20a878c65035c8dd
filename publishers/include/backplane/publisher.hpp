#pragma once
// Publishing to a backplane: numbered, kept until the broker has admitted it, sent again after a reconnect.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace google::protobuf {
class Message;
}

namespace backplane {

/// What became of an event that was offered.
enum class Offer : std::uint8_t {
  accepted,       ///< kept until the broker admits it
  backpressured,  ///< the unconfirmed events fill their bound: nothing was kept; retry later, or drop
  too_large,      ///< above Options::max_event_bytes: nothing was kept
  bad_topic,      ///< not a topic, or one of the system's: nothing was kept
  closed,         ///< after close(): nothing was kept
};

/// Where one broker is reached; both must belong to the same broker. Endpoints are ZeroMQ's:
/// tcp://127.0.0.1:5570, ipc://PATH.
struct PublisherEndpoints {
  std::string ingress = "tcp://127.0.0.1:5570";
  std::string control = "tcp://127.0.0.1:5572";
};

/// What goes with an event beside its payload.
struct EventOptions {
  /// When it happened, Unix nanoseconds; none: now.
  std::optional<std::int64_t> time_ns{};
  std::vector<std::pair<std::string, std::string>> attributes{};
};

/// How far a publisher has come, since it was made. Counters only grow.
struct PublisherStatus {
  bool ready{};                ///< a broker has us: its subscription has come, and the connection stands
  bool draining{};             ///< the broker is about to end: events wait for the next one
  std::uint64_t offered{};     ///< sequence of the last event accepted by offer()
  std::uint64_t confirmed{};   ///< sequence up to which the broker has dealt with everything
  std::uint64_t refused{};     ///< events that the broker refused: dealt with, but no reader gets them
  std::uint64_t resent{};      ///< events sent more than once, after a reconnect
  std::uint64_t reconnects{};  ///< times that a broker had us again, the same one or another
  /// Unconfirmed events sent to a broker that then came back without memory of the session: each may
  /// be lost or may reach readers twice.
  std::uint64_t in_doubt{};
  /// One line: why there is no broker, which event or type a broker refused and why. Emptied when a broker
  /// has us again. Types that cannot be told are said once in a publisher's life.
  std::string last_problem;
};

/// A source of events. Numbers them 1, 2, 3, … over all topics, keeps each until the broker has dealt with
/// it, and after a lost connection, or with another broker, sends again what was not confirmed; the broker
/// refuses what comes twice. So a lost connection loses nothing, doubles nothing and changes no order. Only
/// a broker that comes back without memory, or that another one stands in for, may have had unconfirmed
/// events already: PublisherStatus::in_doubt counts those.
///
/// Has a thread of its own, which owns its sockets; every method may be called from any thread, several at
/// once, but not while it is destroyed. Events that one thread offers keep their order. Destruction is
/// close() with no time to flush. A fork()ed child must not use its parent's publisher.
class Publisher {
 public:
  struct Options {
    /// Tried in order, again and again, until one answers.
    std::vector<PublisherEndpoints> brokers{PublisherEndpoints{}};
    /// The stable name, for example "clock@host7".
    std::string source;
    /// Bound of the events that await the broker, with their topics and 8 bytes each: the publisher's
    /// memory, but for what a connection holds of it on its way.
    std::size_t unconfirmed_bytes_max = 64u << 20;
    /// Bound of one event as it is sent, source, attributes and type included; at most 2 GiB - 1. The
    /// broker's own limit holds beside it, once it is known.
    std::size_t max_event_bytes = 1u << 20;
    /// Called on the publisher's own thread whenever status() changes in something other than `offered`.
    /// Must not block, throw, or call wait_ready(), flush() or close().
    std::function<void(const PublisherStatus&)> on_change{};
  };

  /// Starts connecting and returns at once. Throws std::invalid_argument for endpoints or a source that
  /// cannot be used, zmq::error_t where libzmq cannot make its sockets.
  explicit Publisher(Options options);
  ~Publisher();
  Publisher(const Publisher&) = delete;
  Publisher& operator=(const Publisher&) = delete;

  /// Queues an event and returns at once, in well under a microsecond for a small one; the bytes are copied
  /// before it returns. Before the broker is there, events wait for it. `message` travels in an Any with its
  /// full type name; required fields that are not set are not looked for. A type that does not come with
  /// Backplane is told the broker, with all that its file imports, before the first of its events is sent,
  /// so that readers which do not know it can show it (that first offer takes some 100 µs).
  /// Throws std::invalid_argument for an attribute without key or whose key or value is not UTF-8,
  /// std::bad_alloc where memory is at its end.
  [[nodiscard]] Offer offer(std::string_view topic, const google::protobuf::Message& message,
                            const EventOptions& event = {});
  /// The same with a message that was serialised elsewhere; `type` is its full name, for example
  /// "backplane.events.v1.Quote". Nobody looks whether the bytes are such a message, and the broker is not
  /// told the type's definition.
  [[nodiscard]] Offer offer_serialized(std::string_view topic, std::string_view type, std::string_view bytes,
                                       const EventOptions& event = {});
  /// The same with text, which must be UTF-8 (else it travels as bytes).
  [[nodiscard]] Offer offer_text(std::string_view topic, std::string_view text,
                                 const EventOptions& event = {});
  /// The same with bytes that nobody interprets.
  [[nodiscard]] Offer offer_bytes(std::string_view topic, std::string_view bytes,
                                  const EventOptions& event = {});
  /// An event without payload: clears the topic's retained value.
  [[nodiscard]] Offer offer_clear(std::string_view topic, const EventOptions& event = {});

  /// Blocks until a broker has us, at most `timeout` (0: asks only). @returns whether one has, which
  /// close() ends. What was offered before then is not lost: it waits.
  [[nodiscard]] bool wait_ready(std::chrono::milliseconds timeout);

  /// Blocks until the broker has dealt with everything offered before, at most `timeout`; it is asked at
  /// once, so that takes about a round trip. Other threads may go on offering.
  /// @returns whether it has, and refused none of this session's events. False says which of the two by
  ///          status(): `confirmed` below `offered`, or `refused` above 0.
  [[nodiscard]] bool flush(std::chrono::milliseconds timeout);

  /// flush() without waiting: asks the broker at once how far it has come, and again until it has dealt
  /// with everything offered before. status() and on_change tell. Returns at once.
  void request_confirmation();

  /// As of now. Does not block.
  [[nodiscard]] PublisherStatus status() const;

  /// Sets counters that go with the hello said to the broker each second, for status displays.
  void set_counters(std::vector<std::pair<std::string, std::uint64_t>> counters);

  /// Takes no more events, does flush(timeout), says goodbye and ends the thread, which takes up to 0.2 s
  /// more. What is unconfirmed then is given up. Repeating it does nothing.
  /// @returns what flush() did.
  bool close(std::chrono::milliseconds timeout);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace backplane
