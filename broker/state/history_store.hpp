#pragma once
// Where a backplane's events are kept: the last value of each topic and a bounded history.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "broker/state/retention.hpp"
#include "core/topic/pattern.hpp"
#include "core/wire/stamp.hpp"

namespace backplane::broker {

/// An event as it went out. The views hold until the store's next append(), start_read() or expire().
struct StoredEvent {
  std::string_view topic;
  std::span<const std::byte> event;  ///< stamped
};

/// What a read asks for. One of the starts; `cursor`, if not empty, goes on where a slice ended.
struct ReadRequest {
  enum class What : std::uint8_t {
    retained,        ///< last values, in order of topic names
    after_position,  ///< history, in position order
    after_offset,    ///< history of the one topic that `pattern` is
    since_time,      ///< history received at or after `since_ns`
  };
  explicit ReadRequest(Pattern asked) : pattern(std::move(asked)) {}

  Pattern pattern;
  What what{What::retained};
  std::uint64_t position{};
  std::uint64_t offset{};
  std::int64_t since_ns{};
  std::uint64_t until_position{};  ///< history: stop after it; 0: go on to the end
  std::string cursor;              ///< as a slice gave it; made by the store, trusted by nobody
  std::size_t events_max{512};
  std::size_t bytes_max{256u << 10};  ///< a single larger event still travels, alone
};

/// A part of the answer to a read.
struct ReadSlice {
  enum class End : std::uint8_t {
    complete,    ///< nothing follows
    more,        ///< read on with `cursor`
    gone,        ///< the start is no longer held: see first_available; no events
    bad_cursor,  ///< the request's cursor is not one of ours
  };
  std::uint64_t ticket{};  ///< which read this answers
  End end{End::complete};
  std::vector<StoredEvent> events;
  std::string cursor;
  std::uint64_t first_available{};         ///< gone: the first position from which all that matches is held
  std::uint64_t first_available_offset{};  ///< gone, of one topic: its first offset still held
  std::uint64_t through_position{};        ///< history: all that matches up to it has been given
  /// Retained values: so long none of these ends for its ttl, nor any that comes. 0: none has a ttl.
  std::uint64_t valid_ns{};
};

/// One event to keep. `topic` and `event` are copied before append() returns.
struct HistoryAppend {
  std::string_view topic;
  std::span<const std::byte> event;  ///< stamped
  wire::Stamp stamp;
  bool clears_value{};  ///< an event without payload
  /// Where the store keeps what it knows of the topic, so that it need not look it up again: a place of the
  /// caller's for each topic, nullptr at first, which only the store writes. nullptr: it looks it up.
  void** topic_mark{};
};

/// Keeps events. Belongs to the loop thread, as everything of a backplane does; a store that works
/// elsewhere (on disk, on other machines) hands over to its own thread behind this interface. Hence the
/// shape: appending never blocks, reading is asked for and answered later, in slices.
class HistoryStore {
 public:
  enum class Accepted : std::uint8_t {
    accepted,
    busy,    ///< nothing of the batch was taken; offer it again when progress_fd() is readable
    failed,  ///< nothing of the batch was taken, nor will be
  };
  struct Ticket {
    Accepted result{Accepted::accepted};
    std::uint64_t number{};  ///< compare with Progress
  };
  /// Batches up to these tickets are written, and survive what guarantee() names.
  struct Progress {
    std::uint64_t written{};
    std::uint64_t durable{};
  };
  enum class Guarantee : std::uint8_t {
    none,     ///< nothing beyond this process
    machine,  ///< survives the process and a crash of the machine
  };
  struct Tail {
    std::string topic;
    std::uint64_t position{};
    std::uint64_t offset{};
  };
  /// What was found at the start: numbering goes on from here.
  struct Opened {
    bool continues{};          ///< an earlier incarnation's stream goes on
    std::uint64_t stream{};    ///< which one, where it continues
    std::uint64_t position{};  ///< its last position
    std::vector<Tail> tails;
  };

  virtual ~HistoryStore() = default;
  virtual Opened open() = 0;

  /// Takes a batch, all of it or nothing, in position order. Never blocks.
  [[nodiscard]] virtual Ticket append(std::span<const HistoryAppend> batch) = 0;
  /// Readable when progress() or next_slice() has something new; -1: never needed, all is at once.
  [[nodiscard]] virtual int progress_fd() const = 0;
  [[nodiscard]] virtual Progress progress() const = 0;
  [[nodiscard]] virtual Guarantee guarantee() const = 0;

  /// Asks for a slice. @returns the ticket under which next_slice() will answer it.
  [[nodiscard]] virtual std::uint64_t start_read(const ReadRequest& request) = 0;
  /// The next answer, if one is ready.
  [[nodiscard]] virtual std::optional<ReadSlice> next_slice() = 0;

  /// New bounds, in force from now on; what is above them goes at the next append() or expire().
  virtual void set_limits(HistoryLimits limits) = 0;

  /// Lets go of what is too old. Called about once a second; bounded work a call.
  virtual void expire(std::int64_t now_ns) = 0;

  /// Figures for /metrics.
  struct Figures {
    std::uint64_t events{};          ///< in history
    std::uint64_t values{};          ///< retained values
    std::uint64_t bytes{};           ///< memory held for both, bookkeeping of the events included
    std::uint64_t evicted_events{};  ///< history given up for the total bound (not a topic's own)
    std::uint64_t evicted_values{};
    std::uint64_t expired_events{};  ///< given up for a topic's own count, bytes or age
    std::uint64_t expired_values{};  ///< given up for their ttl
  };
  [[nodiscard]] virtual Figures figures() const = 0;
  /// What is held of one topic.
  struct TopicFigures {
    std::uint64_t value_bytes{};  ///< 0: no value
    std::uint64_t history_events{};
  };
  [[nodiscard]] virtual TopicFigures figures(std::string_view topic) const = 0;
};

}  // namespace backplane::broker
