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

/// Where one broker is reached. Endpoints are ZeroMQ's: tcp://127.0.0.1:5570, ipc://PATH.
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

/// How far a publisher has come. Counters only grow.
struct PublisherStatus {
  bool ready{};               ///< a broker has us: its subscription has come
  bool draining{};            ///< the broker is about to end
  std::uint64_t offered{};    ///< sequence of the last event accepted by offer()
  std::uint64_t confirmed{};  ///< sequence up to which the broker has dealt with everything
  std::uint64_t refused{};    ///< events that the broker refused, in this session
  std::uint64_t resent{};     ///< events sent more than once, after a reconnect
  std::uint64_t reconnects{};
  /// Unconfirmed events sent to a broker that then came back without memory of the session: each may
  /// be lost or may reach readers twice.
  std::uint64_t in_doubt{};
  std::string last_problem;  ///< one line; empty: none
};

/// A source of events. Has a thread of its own, which owns its sockets; every method may be called from
/// any thread. Destruction is close() with no time to flush.
class Publisher {
 public:
  struct Options {
    /// Tried in order, again and again, until one answers.
    std::vector<PublisherEndpoints> brokers{PublisherEndpoints{}};
    /// The stable name, for example "clock@host7".
    std::string source;
    /// Bound of the events that await the broker.
    std::size_t unconfirmed_bytes_max = 64u << 20;
    std::size_t max_event_bytes = 1u << 20;
    /// Called on the publisher's own thread whenever status() changes in something other than `offered`.
    /// Must not block and must not call the publisher's blocking methods.
    std::function<void(const PublisherStatus&)> on_change{};
  };

  /// Starts connecting and returns at once. Throws std::invalid_argument for endpoints or a source that
  /// cannot be used, zmq::error_t where libzmq cannot make its sockets.
  explicit Publisher(Options options);
  ~Publisher();
  Publisher(const Publisher&) = delete;
  Publisher& operator=(const Publisher&) = delete;

  /// Queues an event and returns at once; the bytes are copied before it returns. Before the broker is
  /// there, events wait for it. `message` travels in an Any with its full type name. Throws
  /// std::invalid_argument for an attribute without key or whose key or value is not UTF-8.
  [[nodiscard]] Offer offer(std::string_view topic, const google::protobuf::Message& message,
                            const EventOptions& event = {});
  /// The same with text, which must be UTF-8 (else it travels as bytes).
  [[nodiscard]] Offer offer_text(std::string_view topic, std::string_view text,
                                 const EventOptions& event = {});
  /// The same with bytes that nobody interprets.
  [[nodiscard]] Offer offer_bytes(std::string_view topic, std::string_view bytes,
                                  const EventOptions& event = {});
  /// An event without payload: clears the topic's retained value.
  [[nodiscard]] Offer offer_clear(std::string_view topic, const EventOptions& event = {});

  /// Blocks until a broker has us, at most `timeout`. @returns whether one has.
  [[nodiscard]] bool wait_ready(std::chrono::milliseconds timeout);

  /// Blocks until the broker has dealt with everything offered before, at most `timeout`.
  /// @returns whether it has, and refused none of this session's events.
  [[nodiscard]] bool flush(std::chrono::milliseconds timeout);

  /// flush() without waiting: asks the broker at once how far it has come, and again until it has dealt
  /// with everything offered before. status() and on_change tell. Returns at once.
  void request_confirmation();

  [[nodiscard]] PublisherStatus status() const;

  /// Sets counters that go with the hello said to the broker each second, for status displays.
  void set_counters(std::vector<std::pair<std::string, std::uint64_t>> counters);

  /// flush(timeout), then says goodbye and ends the thread. Repeating it does nothing.
  /// @returns what flush() did.
  bool close(std::chrono::milliseconds timeout);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace backplane
