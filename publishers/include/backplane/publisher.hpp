#pragma once
// Publishing to a backplane. Events are numbered, kept until the broker confirms them, and resent after a
// reconnect.

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

#include "backplane/credentials.hpp"

namespace google::protobuf {
class Message;
}

namespace backplane {

namespace mq {
class Context;
}

/// The result of offering an event.
enum class Offer : std::uint8_t {
  accepted,       ///< queued; kept until the broker confirms it
  backpressured,  ///< Options::unconfirmed_bytes_max reached: the event was not kept; retry later or drop it
  too_large,      ///< above Options::max_event_bytes or the broker's limit: the event was not kept
  bad_topic,      ///< not a valid topic, or a $SYS. topic: the event was not kept
  closed,         ///< after close(): the event was not kept
};

/// The endpoints of one broker; both must belong to the same broker. These are ZeroMQ endpoints:
/// tcp://127.0.0.1:5570, ipc://PATH.
struct PublisherEndpoints {
  std::string ingress = "tcp://127.0.0.1:5570";
  std::string control = "tcp://127.0.0.1:5572";
};

/// The parts of an event other than its payload.
struct EventOptions {
  /// When the event happened, in Unix nanoseconds. Without a value: now.
  std::optional<std::int64_t> time_ns{};
  std::vector<std::pair<std::string, std::string>> attributes{};
};

/// The state of a publisher. Counters start at 0 when the publisher is created, and only grow.
struct PublisherStatus {
  bool ready{};                ///< connected: a broker has replied on ingress and control
  bool draining{};             ///< the broker is shutting down: events wait for the next one
  std::uint64_t offered{};     ///< sequence of the last event accepted by offer()
  std::uint64_t confirmed{};   ///< sequence up to which the broker has admitted or refused every event
  std::uint64_t refused{};     ///< events that the broker refused: confirmed, but no reader receives them
  std::uint64_t resent{};      ///< events sent again after a lost connection
  std::uint64_t reconnects{};  ///< connections after the first one, to the same broker or another
  std::uint64_t event_bytes_max{};  ///< limit on one event now: the publisher's own or the broker's
  std::uint64_t session{};  ///< identifies this run of the source; it changes if another program uses it
  /// Events that may reach readers twice. They were sent and not confirmed, and then the broker came back
  /// without its state, or the publisher moved to another broker, or the broker had events of this session
  /// that this publisher did not send.
  std::uint64_t in_doubt{};
  /// The last problem, on one line: why no broker is connected, or which event or type a broker refused and
  /// why. Cleared when a broker is connected again. A problem with a type is reported once per publisher.
  std::string last_problem;
  /// Why a broker does not admit us: because of our keys or our name, or without keys; as one line; empty:
  /// none does so. Cleared when a broker is connected. The publisher keeps trying, about once a second.
  std::string key_problem{};
};

/// A source of events. Numbers them 1, 2, 3, … over all topics and keeps each one until the broker has
/// confirmed it. After a lost connection, or when it moves to another broker, it resends unconfirmed
/// events, and the broker refuses duplicates. A lost connection therefore loses nothing, duplicates nothing
/// and keeps the order. There is one exception: a broker that came back without its state, or another broker,
/// cannot recognise events that it did not receive itself. PublisherStatus::in_doubt counts these.
///
/// If a broker reports more events of a session than this publisher has sent, another program uses the same
/// source and session. Such a report confirms nothing: the publisher takes a new session, resends its
/// unconfirmed events in it, and counts them as in doubt.
///
/// Owns a thread, which owns the sockets. Any thread may call any method, several threads at once, but not
/// during destruction. Events offered by one thread keep their order. The destructor does what close() with
/// a timeout of 0 does. A fork()ed child must not use its parent's publisher.
class Publisher {
 public:
  struct Options {
    /// The publisher uses one of them at a time: the first that replies on both endpoints. If that broker is
    /// lost, silent, or does not confirm, the publisher moves to another within about a second. It returns to
    /// an earlier broker of the list when that has worked for 3 s.
    std::vector<PublisherEndpoints> brokers{PublisherEndpoints{}};
    /// The keys, the same for all brokers. With a policy, a broker admits the events of a session only from
    /// the user who began it.
    Credentials credentials{};
    /// The publisher's stable name, for example "clock@host7": a valid topic of at most 243 bytes.
    std::string source;
    /// Limit on the unconfirmed events: their bytes, their topics and 8 bytes each. This bounds the
    /// publisher's memory, apart from the copies that wait in a connection's send queue.
    std::size_t unconfirmed_bytes_max = 64u << 20;
    /// Limit on one event as sent, including source, attributes and type; at most 2 GiB - 1. The broker's
    /// own limit applies as well, once it is known.
    std::size_t max_event_bytes = 1u << 20;
    /// Continues a session of an earlier run, which may have been killed. The caller must offer the same
    /// events again, in the same order, from `sequence` + 1 on; the broker refuses those that it already has,
    /// even if they are still on their way from the earlier run.
    struct Resume {
      std::uint64_t session{};
      std::uint64_t sequence{};  ///< the events up to this one are confirmed
      std::uint64_t sent_max{};  ///< the earlier run has sent no event above this one
    };
    std::optional<Resume> resume{};
    /// An event above the broker's limit is numbered and counts as refused, instead of Offer::too_large. The
    /// numbers then do not depend on when the limit became known, as Resume requires.
    bool number_too_large{};
    /// Called on the publisher's thread when anything in status() other than `offered` has changed. It must
    /// not block, throw, or call wait_ready(), flush() or close().
    std::function<void(const PublisherStatus&)> on_change{};
  };

  /// Starts connecting and returns at once. Throws std::invalid_argument if an endpoint, the source or
  /// max_event_bytes is invalid or a key cannot be read, and zmq::error_t if libzmq cannot create the
  /// sockets.
  explicit Publisher(Options options);
  /// The same for a broker in this process: inproc endpoints are those of `context`, and no keys are used.
  /// nullptr: there is no such broker. For programs that are built from Backplane's sources.
  Publisher(Options options, std::shared_ptr<mq::Context> context);
  ~Publisher();
  Publisher(const Publisher&) = delete;
  Publisher& operator=(const Publisher&) = delete;

  /// Queues an event and returns at once (a small event takes well under a microsecond). The bytes are copied
  /// before it returns. Without a broker, events wait for one. `message` is sent in an Any under its full
  /// type name; required fields are not checked. If its type does not come with Backplane, the publisher
  /// registers the definition, with everything that its file imports, with the broker before it sends the
  /// first event of that type, so that readers can show events of types they do not know. (That first offer
  /// takes some 100 µs.)
  /// Throws std::invalid_argument for an attribute with an empty key, or with a key or value that is not
  /// UTF-8, and std::bad_alloc if memory is exhausted.
  [[nodiscard]] Offer offer(std::string_view topic, const google::protobuf::Message& message,
                            const EventOptions& event = {});
  /// Like offer(), with a message that is already serialised. `type` is its full name, for example
  /// "backplane.events.v1.Quote". Whether the bytes are such a message is not checked, and the type's
  /// definition is not registered with the broker.
  [[nodiscard]] Offer offer_serialized(std::string_view topic, std::string_view type, std::string_view bytes,
                                       const EventOptions& event = {});
  /// Like offer(), with text. Text that is not UTF-8 is sent as bytes.
  [[nodiscard]] Offer offer_text(std::string_view topic, std::string_view text,
                                 const EventOptions& event = {});
  /// Like offer(), with bytes that are not interpreted.
  [[nodiscard]] Offer offer_bytes(std::string_view topic, std::string_view bytes,
                                  const EventOptions& event = {});
  /// Like offer(), without a payload. This clears the topic's retained value.
  [[nodiscard]] Offer offer_clear(std::string_view topic, const EventOptions& event = {});

  /// Blocks until a broker is connected, for at most `timeout` (0: does not block). @returns whether one is;
  /// false after close(). Events may be offered before a broker is connected: they wait for it.
  [[nodiscard]] bool wait_ready(std::chrono::milliseconds timeout);

  /// Blocks until the broker has confirmed everything offered before the call, for at most `timeout`. The
  /// confirmation is requested at once and takes about one round trip. Other threads may keep offering.
  /// @returns whether everything is confirmed and no event of this session was refused. If false, status()
  ///          shows which: `confirmed` is below `offered`, or `refused` is above 0.
  [[nodiscard]] bool flush(std::chrono::milliseconds timeout);

  /// flush() without blocking: requests confirmation of everything offered before, at once and repeatedly
  /// until it is confirmed. status() and on_change show the progress.
  void request_confirmation();

  /// The current state. Does not block.
  [[nodiscard]] PublisherStatus status() const;

  /// Sets counters that are sent to the broker in the Hello each second, for status displays.
  void set_counters(std::vector<std::pair<std::string, std::uint64_t>> counters);

  /// Accepts no more events, calls flush(timeout), sends a closing Hello and stops the thread, which takes up
  /// to 0.2 s more. Events that are still unconfirmed are discarded. A second call has no effect.
  /// @returns the result of flush().
  bool close(std::chrono::milliseconds timeout);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace backplane
