#pragma once
// Reading from a backplane: events in order, without duplicates, and notices of events that are missing.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "backplane/credentials.hpp"
#include "backplane/gap_reason.hpp"

namespace google::protobuf {
class Message;
}

namespace backplane {

/// The ZeroMQ endpoints of one broker: tcp://127.0.0.1:5571, ipc://PATH.
struct ClientEndpoints {
  std::string egress = "tcp://127.0.0.1:5571";
  std::string control = "tcp://127.0.0.1:5572";
};

/// Where a subscription begins, and how many of its events are delivered. By default: all events from now on.
struct SubscribeOptions {
  /// Deliver the last value of each topic first. Cannot be combined with a `since_…`.
  bool last = false;
  /// Continue where an earlier client stopped: its Client::resume_token(). At most one `since_…` can be set.
  std::string since_token{};
  /// Begin after this offset. Only for a pattern that is one topic. An offset belongs to one stream: with
  /// several brokers, use since_token.
  std::optional<std::uint64_t> since_offset{};
  /// Begin with what the broker received at this Unix time (nanoseconds) or later, as far as its history
  /// still has it.
  std::optional<std::int64_t> since_time_ns{};
  /// Begin with what the broker received within this time before subscribe(), by the broker's own clock, as
  /// far as its history still has it. Above 0.
  std::chrono::nanoseconds since_ago{0};
  /// Deliver the first event of each topic at once, then at most one per interval: the latest. Superseded
  /// events are not delivered. 0: deliver every event.
  std::chrono::milliseconds every{0};
};

/// Counters of a Client, which only grow, and its state. Once nothing is being recovered, the events that
/// were expected are seen + recovered + lost.
struct ClientStatus {
  bool connected{};           ///< to at least one broker, with all subscriptions active
  std::size_t broker{};       ///< index in Client::Options::brokers of the first one connected, else 0
  std::uint64_t given{};      ///< events that next() returned
  std::uint64_t conflated{};  ///< events that a later one superseded (`every`)
  std::uint64_t seen{};       ///< events from the broker's egress
  std::uint64_t recovered{};  ///< events that were lost on the way and recovered from history
  std::uint64_t lost{};       ///< events announced as a Gap, as far as their number is known
  std::uint64_t gaps{};
  std::uint64_t resets{};
  std::uint64_t undecodable{};  ///< messages that are not events of a broker
  std::uint64_t reconnects{};
  /// Why a broker does not accept our keys, or that it requires some, as one line; empty: none does so. The
  /// client keeps trying, about every 3 s.
  std::string key_problem{};
};

/// A reader of a backplane. Lives on one thread: every method except stop() is called there. It works while
/// next() or run_for() runs, and has no thread of its own. Between calls, events wait in the socket
/// (100,000 of them), then at the broker. Events lost there are recovered later.
class Client {
 public:
  struct Options {
    /// At least one, each once. The client follows every broker at once, each with its own stream, positions
    /// and offsets. There is no order between streams. A broker that has been away for a second delays
    /// nothing; its events follow when it is back.
    std::vector<ClientEndpoints> brokers{ClientEndpoints{}};
    /// The keys, the same for all brokers.
    Credentials credentials{};
    /// The client's name in the brokers' status displays. "": no name is sent.
    std::string name{};
    std::size_t max_event_bytes = 1u << 20;
    /// Timeout of a request to a broker.
    std::chrono::milliseconds answer_timeout{2000};
    /// If nothing of a recovery arrives for this time, the missing events become a Gap. A recovery
    /// that advances has no limit; later events wait for it.
    std::chrono::milliseconds recovery_limit{1000};
    /// Limit of the reorder buffer, in which later events wait. Events above the limit are recovered from
    /// history too.
    std::size_t held_bytes_max = 64u << 20;
    /// Limit of a subscription's join buffer: live events kept while its history is read. Events above the
    /// limit are read from history too.
    std::size_t join_bytes_max = 16u << 20;
  };

  /// Identifies one subscribe().
  enum class Subscription : std::uint64_t {};

  enum class Payload : std::uint8_t {
    none,  ///< clears the topic's retained value
    message,
    text,
    bytes,
  };

  /// An event. Its views are valid until the client's next next() or run_for().
  class Event {
   public:
    /// The subscription that matched. An event that matches several is delivered once for each.
    [[nodiscard]] Subscription subscription() const noexcept { return subscription_; }
    [[nodiscard]] std::string_view topic() const noexcept { return topic_; }

    /// Identifies a broker and its incarnation, and with them the numbering of positions and offsets.
    [[nodiscard]] std::uint64_t stream() const noexcept { return stream_; }
    /// 1, 2, 3, … in the stream, over all topics.
    [[nodiscard]] std::uint64_t position() const noexcept { return position_; }
    /// 1, 2, 3, … in the topic, in this stream.
    [[nodiscard]] std::uint64_t offset() const noexcept { return offset_; }
    /// Unix time at which the broker received the event, in nanoseconds.
    [[nodiscard]] std::int64_t received_ns() const noexcept { return received_ns_; }
    /// Whether the event comes from history or retained values rather than live.
    [[nodiscard]] bool from_history() const noexcept { return from_history_; }
    /// Whether events of other topics with higher positions were delivered before this one, because its loss
    /// on the way was discovered late. Within its topic, the event is in order.
    [[nodiscard]] bool late() const noexcept { return late_; }

    /// The publisher's name, its session, and its sequence number in that session (0: not numbered).
    [[nodiscard]] std::string_view source() const;
    [[nodiscard]] std::uint64_t session() const;
    [[nodiscard]] std::uint64_t sequence() const;
    /// When the event happened according to its publisher, in Unix nanoseconds. Nothing if the publisher gave
    /// no time, or one before 1678 or after 2261.
    [[nodiscard]] std::optional<std::int64_t> time_ns() const;
    /// In no particular order.
    [[nodiscard]] std::vector<std::pair<std::string, std::string>> attributes() const;

    [[nodiscard]] Payload payload() const;
    /// The text, the bytes, or a message's serialised bytes.
    [[nodiscard]] std::string_view content() const;
    /// A message's full type name, for example "backplane.events.v1.Quote". "" for other payloads.
    [[nodiscard]] std::string_view type() const;
    /// Parses a message. @returns false if the payload is not a message of that type.
    [[nodiscard]] bool unpack(google::protobuf::Message& into) const;

    /// The serialised backplane.v1.Event, with its stamp.
    [[nodiscard]] std::span<const std::byte> envelope() const noexcept { return envelope_; }

   private:
    friend class Client;
    Subscription subscription_{};
    std::string_view topic_;
    std::span<const std::byte> envelope_;
    std::uint64_t stream_{};
    std::uint64_t position_{};
    std::uint64_t offset_{};
    std::int64_t received_ns_{};
    bool from_history_{};
    bool late_{};
  };

  /// Events that will not arrive, in their place among the topic's events.
  struct Gap {
    Subscription subscription{};
    std::uint64_t stream{};
    /// If history that a subscription with wildcards requested is gone, this is the pattern: the broker no
    /// longer knows which topics lost how many events, and both offsets are 0. One Gap covers all topics. The
    /// offset of a topic's next event shows how many events of that topic came before it.
    std::string topic;
    /// Offsets, both included. `first` is 0 if it is unknown.
    std::uint64_t first{};
    std::uint64_t last{};
    GapReason reason{GapReason::history_gone};
  };

  /// A broker restarted without its history. Its numbering restarts, and events at the end of the old stream
  /// may be lost; their number is unknown. Both streams are equal if the position or offset to continue from
  /// is beyond the end of the stream.
  struct Reset {
    std::uint64_t old_stream{};
    std::uint64_t new_stream{};
  };

  /// The subscription is active: from now on, no event is missed without a notice. Comes before the
  /// subscription's events.
  struct Subscribed {
    Subscription subscription{};
  };
  /// The history or last values that a subscription requested cannot be read. Live events are delivered
  /// nevertheless.
  struct Refused {
    Subscription subscription{};
    std::string text;  ///< one line
  };
  /// No broker is connected any more (`up` is false), or one is, with all subscriptions active. Initially
  /// none is. Or a broker does not accept our keys: then `key_problem` says so, and `up` is as before.
  struct Broker {
    bool up{};
    std::size_t index{};  ///< of the first broker connected, in Options::brokers
    std::string key_problem{};
  };

  using Item = std::variant<Event, Gap, Reset, Subscribed, Refused, Broker>;

  /// Starts connecting and returns at once. Throws std::invalid_argument if there is no broker, an endpoint
  /// is invalid or a key cannot be read, and zmq::error_t (a std::exception) if libzmq cannot create its
  /// sockets.
  explicit Client(Options options);
  Client();
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  /// Subscribes to the topics that match a pattern: a topic in which `*` stands for one token and a final `>`
  /// for one or more. Returns at once. A Subscribed item follows when it is active, then its events.
  /// Throws std::invalid_argument for an invalid pattern or resume token and for options that exclude each
  /// other. The text says what was expected.
  Subscription subscribe(std::string_view pattern, const SubscribeOptions& options = {});
  /// One subscription of several patterns. An event that matches more than one is delivered once.
  Subscription subscribe(const std::vector<std::string>& patterns, const SubscribeOptions& options = {});
  /// Ends a subscription: none of its items is delivered any more. Does nothing if it has already ended.
  void unsubscribe(Subscription subscription);

  /// Returns the next item in order. Blocks until there is one, at most `timeout` (0: never).
  /// @returns nullptr if there was none in that time, and after stop(). The item is valid until the next
  ///          call.
  [[nodiscard]] const Item* next(std::chrono::milliseconds timeout);

  /// Handlers of items. Items without a handler are skipped.
  struct Callbacks {
    std::function<void(const Event&)> on_event{};
    std::function<void(const Gap&)> on_gap{};
    std::function<void(const Reset&)> on_reset{};
    std::function<void(const Subscribed&)> on_subscribed{};
    std::function<void(const Refused&)> on_refused{};
    std::function<void(const Broker&)> on_broker{};
  };
  /// Calls the callbacks with all items that arrive within `time`. Blocks for that time. The callbacks may
  /// call every method except next() and run_for().
  /// @returns false if stop() ended it early.
  bool run_for(std::chrono::milliseconds time, const Callbacks& callbacks);

  /// Makes next() and run_for() return at once, now and in every later call. Can be called from any thread
  /// and from a signal handler.
  void stop() noexcept;

  /// Where to continue after everything that next() has returned, for SubscribeOptions::since_token: one
  /// position for each stream. With several subscriptions, a few events may be delivered again. "" before any
  /// subscription is active.
  [[nodiscard]] std::string resume_token() const;

  /// An event's payload as JSON on one line: a message with its fields by their names in the definition, text
  /// as a string, bytes as a base64 string, no payload as `null`. `event` must be the one returned last.
  /// If the program was not built with the message's type, the definition is requested from the broker once,
  /// which blocks for at most Options::answer_timeout. Without a definition, the message is shown as
  /// {"@type":…,"value":base64}.
  [[nodiscard]] std::string payload_json(const Event& event);

  /// For your own event loop: the descriptor is readable when next(0 ms) may return an item. Before sleeping,
  /// call next(0 ms) until it returns nullptr, and sleep no longer than until wait_until().
  [[nodiscard]] int fd() const;
  [[nodiscard]] std::chrono::steady_clock::time_point wait_until();

  [[nodiscard]] ClientStatus status() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace backplane
