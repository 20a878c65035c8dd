#pragma once
// The interface for storing a backplane's events: the last value of each topic and a bounded history.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "broker/state/retention.hpp"
#include "broker/state/topic_filter.hpp"
#include "core/error/error.hpp"
#include "core/metrics/latency_histogram.hpp"
#include "core/topic/pattern.hpp"
#include "core/wire/stamp.hpp"

namespace backplane::broker {

/// An event as published. The views are valid until the store's next append(), start_read() or expire().
struct StoredEvent {
  std::string_view topic;
  std::span<const std::byte> event;  ///< stamped
};

/// Events of one topic that damage to the store has destroyed: offsets `first` to `last`. `first` is 0 if it
/// is unknown, because the read began in between.
struct DestroyedEvents {
  std::string topic;
  std::uint64_t first{};
  std::uint64_t last{};
  std::uint64_t position{};  ///< of the last one
  bool upstream{};           ///< not destroyed here: they were lost before they reached the broker
};

/// The start of a read, and its limits. `cursor`, if not empty, continues after an earlier slice.
struct ReadRequest {
  enum class What : std::uint8_t {
    retained,        ///< last values, in order of topic names
    after_position,  ///< history, in position order
    after_offset,    ///< history of one topic: `pattern` has no wildcards
    since_time,      ///< history received at or after `since_ns`
  };
  explicit ReadRequest(Pattern asked) : pattern(std::move(asked)) {}

  Pattern pattern;
  /// The topics that it hides are not part of the read, as if `pattern` did not match them; nullptr: none.
  std::shared_ptr<const TopicFilter> filter;
  What what{What::retained};
  std::uint64_t position{};
  std::uint64_t offset{};
  std::int64_t since_ns{};
  std::uint64_t since_ago_ns{};    ///< if set, `since_ns` was computed from it, when this slice was requested
  std::uint64_t until_position{};  ///< history: stop after it; 0: read to the end
  std::uint64_t stream{};  ///< after_position: an earlier incarnation of the stream; 0: the current one
  bool earlier{};          ///< since_time: earlier incarnations belong to it
  bool partial{};          ///< history: what is left is returned instead of `gone`
  std::string cursor;      ///< as in a slice; made by the store, which does not trust it
  std::size_t events_max{512};
  std::size_t bytes_max{256u << 10};  ///< a single larger event still travels, alone

  [[nodiscard]] bool includes(std::string_view topic) const noexcept {
    return pattern.matches(topic) && (filter == nullptr || filter->matches(topic));
  }
};

/// A part of the result of a read.
struct ReadSlice {
  enum class End : std::uint8_t {
    complete,    ///< nothing follows
    more,        ///< continue with `cursor`
    gone,        ///< the start is no longer in history: see first_available; no events
    bad_cursor,  ///< the request's cursor is not one of this store
  };
  std::uint64_t ticket{};  ///< which read this belongs to
  End end{End::complete};
  std::vector<StoredEvent> events;
  /// In order of positions. Counted like events for the limits of a slice.
  std::vector<DestroyedEvents> destroyed;
  std::string cursor;
  std::uint64_t
      first_available{};  ///< gone: the first position from which everything that matches is in history
  std::uint64_t first_available_offset{};  ///< gone, for one topic: its first offset in history
  std::uint64_t through_position{};        ///< history: everything that matches up to it has been returned
  /// An earlier incarnation to which all of this belongs; 0: the current one. The first slice of the one that
  /// follows has no events.
  std::uint64_t stream{};
  /// Retained values: for this long, neither these values nor any new one reaches its ttl. 0: none has a ttl.
  std::uint64_t valid_ns{};
};

/// One event to store. `topic`, `event` and `user` are copied before append() returns.
struct HistoryAppend {
  std::string_view topic;
  std::span<const std::byte> event;  ///< stamped
  wire::Stamp stamp;
  bool clears_value{};  ///< an event without payload
  /// Where the store keeps its record of the topic, which saves it the lookup: one pointer per topic, owned
  /// by the caller, initially nullptr, written only by the store. nullptr: the store looks the topic up.
  void** topic_mark{};
  /// The user to whom the event's session belongs; "" if it has no session, or belongs to nobody.
  std::string_view user{};
};

/// Stores events. Lives on the loop thread, like everything of a backplane. A store that works elsewhere (on
/// disk, on other machines) has its own thread behind this interface. For this reason appending never blocks,
/// and a read is started first and returns slices later.
class HistoryStore {
 public:
  enum class Accepted : std::uint8_t {
    accepted,
    busy,    ///< nothing was taken; offer the batch again when progress_fd() is readable
    failed,  ///< nothing was taken, nor will be
  };
  struct Ticket {
    Accepted result{Accepted::accepted};
    std::uint64_t number{};  ///< compare with Progress
  };
  /// Batches up to these tickets are written, or survive what guarantee() states.
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
    std::uint64_t bytes{};       ///< of all its events, as published
    std::int64_t received_ns{};  ///< of its last event
  };
  /// A publisher's session, and the last sequence that was stored of it.
  struct Session {
    std::string source;
    std::uint64_t session{};
    std::uint64_t sequence{};
    std::string user{};  ///< to whom it belongs; "" if that is not known
  };
  /// What open() found. Numbering continues from here.
  struct Opened {
    bool continues{};          ///< the stream of an earlier incarnation continues
    std::uint64_t stream{};    ///< that stream, or the `new_stream` that open() was given
    std::uint64_t position{};  ///< its last position
    std::vector<Tail> tails{};
    std::vector<Session> sessions{};   ///< least recently used first
    std::vector<std::string> types{};  ///< in the order of remember_types()
  };
  enum class Health : std::uint8_t {
    good,
    full,    ///< no room: appends are `busy` until there is room again
    failed,  ///< final: what was accepted and is not written will never be
  };
  struct Condition {
    Health health{Health::good};
    std::string text{};  ///< one line: what is wrong; empty if nothing is
  };

  virtual ~HistoryStore() = default;
  /// Opens the store, before anything else. May block. `new_stream` is the stream if no earlier one
  /// continues. @returns an error that says where the store is, and why it cannot be used.
  virtual Result<Opened> open(std::uint64_t new_stream) = 0;

  /// After open(), before the first append(): the stream has gone on to `position` elsewhere, and `tails` are
  /// the last events of all its topics. What is missing here counts as removed: reads of it say `gone`. Does
  /// nothing if the store has come that far. May block.
  virtual Result<void> begin_after(std::span<const Tail> tails, std::uint64_t position) = 0;

  /// Stores a batch in position order, all of it or nothing. Never blocks.
  [[nodiscard]] virtual Ticket append(std::span<const HistoryAppend> batch) = 0;
  /// Readable when progress() or next_slice() has something new; -1: not needed, everything completes at
  /// once.
  [[nodiscard]] virtual int progress_fd() const = 0;
  [[nodiscard]] virtual Progress progress() const = 0;
  [[nodiscard]] virtual Guarantee guarantee() const = 0;
  [[nodiscard]] virtual Condition condition() const = 0;

  /// Stores types that publishers have registered, for the next open(): a serialised FileDescriptorSet.
  virtual void remember_types(std::string_view descriptor_set) = 0;

  /// Whether it has something left of this earlier incarnation of the stream.
  [[nodiscard]] virtual bool has_stream(std::uint64_t /*stream*/) const { return false; }
  /// Starts a read. @returns the ticket of the slice that next_slice() will return.
  [[nodiscard]] virtual std::uint64_t start_read(const ReadRequest& request) = 0;
  /// The next slice, if one is ready.
  [[nodiscard]] virtual std::optional<ReadSlice> next_slice() = 0;

  /// Sets new limits. Events above them are removed by the next append() or expire().
  virtual void set_limits(HistoryLimits limits) = 0;

  /// Removes events and values that are too old. Called about once a second; the work per call is bounded.
  virtual void expire(std::int64_t now_ns) = 0;

  /// Gauges and counters for /metrics.
  struct Figures {
    std::uint64_t events{};          ///< in history
    std::uint64_t values{};          ///< retained values
    std::uint64_t bytes{};           ///< memory of both, including the bookkeeping per event
    std::uint64_t evicted_events{};  ///< evicted from history for the total limit (not a topic's own)
    std::uint64_t evicted_values{};
    std::uint64_t expired_events{};    ///< removed for a topic's own count, bytes or age
    std::uint64_t expired_values{};    ///< removed for their ttl
    std::uint64_t through_position{};  ///< the last event that these figures include
    // Of a store on disk; in memory, 0.
    std::uint64_t disk_bytes{};          ///< of all files
    std::uint64_t disk_bytes_max{};      ///< the limit of that
    std::int64_t oldest_ns{};            ///< when the oldest event on disk was received; 0: there is none
    std::uint64_t segments{};            ///< files with events
    std::uint64_t queued_bytes{};        ///< accepted and not yet written
    std::uint64_t written_events{};      ///< since open()
    std::uint64_t written_bytes{};       ///< since open(), of events, without what the cleaner copied
    std::uint64_t cleaned_bytes{};       ///< copied from old segments, to remove what has expired
    std::uint64_t freed_bytes{};         ///< by the cleaner: of removed segments, without what it copied
    std::uint64_t damaged_ranges{};      ///< places in files that could not be read
    std::uint64_t times_full{};          ///< how often it had no room for events
    metrics::LatencyHistogram writes{};  ///< of groups of events
    metrics::LatencyHistogram syncs{};
  };
  [[nodiscard]] virtual Figures figures() const = 0;
  /// What is stored of one topic.
  struct TopicFigures {
    std::uint64_t value_bytes{};  ///< 0: no value
    std::uint64_t history_events{};
  };
  [[nodiscard]] virtual TopicFigures figures(std::string_view topic) const = 0;
};

}  // namespace backplane::broker
