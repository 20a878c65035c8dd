#pragma once
// Reading from a backplane: events in order, without duplicates, and word of those that are missing.

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

#include "backplane/gap_reason.hpp"

namespace google::protobuf {
class Message;
}

namespace backplane {

/// Where one broker is read from. Endpoints are ZeroMQ's: tcp://127.0.0.1:5571, ipc://PATH.
struct ClientEndpoints {
  std::string egress = "tcp://127.0.0.1:5571";
  std::string control = "tcp://127.0.0.1:5572";
};

/// Where a subscription begins, and how much of it comes. Nothing set: all events from now on.
struct SubscribeOptions {
  /// The last value of each topic first. Not together with a `since_…`.
  bool last = false;
  /// Where an earlier reading ended: Client::resume_token(). At most one of the three `since_…`.
  std::string since_token{};
  /// What came after this offset; for a pattern that is one topic.
  std::optional<std::uint64_t> since_offset{};
  /// What the broker received at this Unix time (nanoseconds) or later, as far as it still holds it.
  std::optional<std::int64_t> since_time_ns{};
  /// Of each topic the first event at once, then the latest at most once in this time, and only if there is
  /// a new one: what it supersedes does not come. 0: every event.
  std::chrono::milliseconds every{0};
};

/// What a Client has seen so far. Counters only grow. What was expected = seen + recovered + lost, once
/// nothing is being fetched any more.
struct ClientStatus {
  bool connected{};           ///< a broker is there, with all subscriptions in force
  std::size_t broker{};       ///< index in Client::Options::brokers of the one followed, or tried
  std::uint64_t given{};      ///< events that next() gave
  std::uint64_t conflated{};  ///< events that a later one superseded (`every`)
  std::uint64_t seen{};       ///< events that came from the broker's egress
  std::uint64_t recovered{};  ///< events that were lost on the way and fetched
  std::uint64_t lost{};       ///< events announced as a Gap, as far as their number is known
  std::uint64_t gaps{};
  std::uint64_t resets{};
  std::uint64_t undecodable{};  ///< messages that are no events of a broker
  std::uint64_t reconnects{};
};

/// A reader of a backplane. Lives on one thread: every method but stop() is called there; it works while
/// next() or run_for() is called, and has no thread of its own for it. While nobody calls them, events wait
/// in the socket (100,000) and then at the broker; what is lost there is fetched again later.
class Client {
 public:
  struct Options {
    /// Tried in order, again and again: the next one where there has been none for a second. At least one.
    std::vector<ClientEndpoints> brokers{ClientEndpoints{}};
    /// Who we are, for the broker's status displays; "" says nothing.
    std::string name{};
    std::size_t max_event_bytes = 1u << 20;
    /// How long the broker may take to answer a question.
    std::chrono::milliseconds answer_timeout{2000};
    /// How long, and with how many bytes, the others wait for an event that was lost on the way and is being
    /// fetched; then it becomes a Gap.
    std::chrono::milliseconds recovery_limit{1000};
    std::size_t held_bytes_max = 64u << 20;
    /// Live events kept while a subscription's history is read; what is more is read from history too.
    std::size_t join_bytes_max = 16u << 20;
  };

  /// Names one subscribe().
  enum class Subscription : std::uint64_t {};

  enum class Payload : std::uint8_t {
    none,  ///< the topic's retained value is cleared
    message,
    text,
    bytes,
  };

  /// An event. Its views hold until the client's next next() or run_for().
  class Event {
   public:
    /// Whose event it is. One that several subscriptions want comes once for each.
    [[nodiscard]] Subscription subscription() const noexcept { return subscription_; }
    [[nodiscard]] std::string_view topic() const noexcept { return topic_; }

    /// Which broker's numbering this is, in which life of that broker.
    [[nodiscard]] std::uint64_t stream() const noexcept { return stream_; }
    /// 1, 2, 3, … in the stream, over all topics.
    [[nodiscard]] std::uint64_t position() const noexcept { return position_; }
    /// 1, 2, 3, … in the topic, in this stream.
    [[nodiscard]] std::uint64_t offset() const noexcept { return offset_; }
    /// Unix time at which the broker had it, nanoseconds.
    [[nodiscard]] std::int64_t received_ns() const noexcept { return received_ns_; }
    /// It comes from the broker's history or its retained values, not as it happened.
    [[nodiscard]] bool from_history() const noexcept { return from_history_; }
    /// Its loss on the way showed only after higher positions of other topics had been given.
    [[nodiscard]] bool late() const noexcept { return late_; }

    /// The publisher's name, its session and its own number in it (0: it does not number).
    [[nodiscard]] std::string_view source() const;
    [[nodiscard]] std::uint64_t session() const;
    [[nodiscard]] std::uint64_t sequence() const;
    /// When it happened, Unix nanoseconds; none where the publisher gave no time between the years 1678 and
    /// 2261.
    [[nodiscard]] std::optional<std::int64_t> time_ns() const;
    /// In no particular order.
    [[nodiscard]] std::vector<std::pair<std::string, std::string>> attributes() const;

    [[nodiscard]] Payload payload() const;
    /// The text, or the bytes; of a message, its bytes.
    [[nodiscard]] std::string_view content() const;
    /// Of a message: its type in full, for example "backplane.events.v1.Quote"; else "".
    [[nodiscard]] std::string_view type() const;
    /// Reads a message. @returns false where the payload is not a message of that type.
    [[nodiscard]] bool unpack(google::protobuf::Message& into) const;

    /// The serialised backplane.v1.Event, stamp included.
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

  /// Events that will not come, in their place among the topic's events.
  struct Gap {
    Subscription subscription{};
    std::uint64_t stream{};
    /// Or, for a subscription with wildcards, the pattern itself, where some of the history that it asked for
    /// is gone: of which topics, and how much, the broker no longer knows; both offsets are 0 then. It comes
    /// once, for all of them; what follows of a topic tells by its offset how much of that one came before.
    std::string topic;
    /// Offsets, both included. `first` is 0 where nobody knows it.
    std::uint64_t first{};
    std::uint64_t last{};
    GapReason reason{GapReason::history_gone};
  };

  /// A broker came back without its history, or another one stands in for it: numbering begins anew, and
  /// what the end of the old stream still had is lost; nobody knows how much that is. Both numbers are the
  /// same where a reading was to go on from a place that the stream has not come to.
  struct Reset {
    std::uint64_t old_stream{};
    std::uint64_t new_stream{};
  };

  /// The subscription is in force: no event from now on is missed without word of it. Before its events.
  struct Subscribed {
    Subscription subscription{};
  };
  /// What a subscription asked to begin with cannot be had; live events come all the same.
  struct Refused {
    Subscription subscription{};
    std::string text;  ///< one line
  };
  /// There is no broker now, or there is one again, with all subscriptions in force. Before the first `up`
  /// there is none.
  struct Broker {
    bool up{};
    std::size_t index{};  ///< in Options::brokers
  };

  using Item = std::variant<Event, Gap, Reset, Subscribed, Refused, Broker>;

  /// Starts connecting and returns at once. Throws std::invalid_argument for no broker, or endpoints that
  /// cannot be used; zmq::error_t (a std::exception) where libzmq cannot make its sockets.
  explicit Client(Options options);
  Client();
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  /// Subscribes to the topics that a pattern means: a topic in which `*` stands for one token and a final
  /// `>` for one or more. Returns at once; a Subscribed item follows when it is in force, then its events.
  /// Throws std::invalid_argument for what is not a pattern or not a resume token, and for options that
  /// exclude each other; the text says what was wanted.
  Subscription subscribe(std::string_view pattern, const SubscribeOptions& options = {});
  /// The same for several patterns: one subscription, to which an event comes once.
  Subscription subscribe(const std::vector<std::string>& patterns, const SubscribeOptions& options = {});
  /// Ends it: nothing of it is given any more. For one that has ended it does nothing.
  void unsubscribe(Subscription subscription);

  /// What comes next, in order; blocks until there is something, at most `timeout` (0: never).
  /// @returns nullptr where there was nothing in that time, or after stop(). The item holds until the
  ///          next call.
  [[nodiscard]] const Item* next(std::chrono::milliseconds timeout);

  /// Who takes what comes; what is not set is passed over.
  struct Callbacks {
    std::function<void(const Event&)> on_event{};
    std::function<void(const Gap&)> on_gap{};
    std::function<void(const Reset&)> on_reset{};
    std::function<void(const Subscribed&)> on_subscribed{};
    std::function<void(const Refused&)> on_refused{};
    std::function<void(const Broker&)> on_broker{};
  };
  /// Gives all that comes within `time` to callbacks, which may call every method but next() and run_for().
  /// @returns false where it ended early, for stop().
  bool run_for(std::chrono::milliseconds time, const Callbacks& callbacks);

  /// Ends next() and run_for() at once, now and ever after. From any thread, and from a signal handler.
  void stop() noexcept;

  /// Where everything that next() has given ends: to be given to SubscribeOptions::since_token, after which
  /// that does not come again. (With several subscriptions a few events may.) Empty where nothing has begun.
  [[nodiscard]] std::string resume_token() const;

  /// An event's payload as JSON on one line: of a message its fields by their names in the definition, of
  /// text a string, of bytes a string in base64, of none `null`. The definition of a type that this program
  /// was not built with is fetched from the broker, once, which blocks for at most Options::answer_timeout;
  /// one that is not to be had is shown as {"@type":…,"value":base64}. `event` must be the one given last.
  [[nodiscard]] std::string payload_json(const Event& event);

  /// For loops of one's own: readable when next(0 ms) may have something. Before sleeping on it, call
  /// next(0 ms) until it has nothing, and sleep no longer than until wait_until().
  [[nodiscard]] int fd() const;
  [[nodiscard]] std::chrono::steady_clock::time_point wait_until();

  [[nodiscard]] ClientStatus status() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace backplane
