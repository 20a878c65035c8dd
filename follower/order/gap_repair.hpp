#pragma once
// Streams in order and without holes: missing events are recovered, or announced as lost.

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/topic/pattern.hpp"
#include "follower/order/delivery.hpp"
#include "follower/order/prefix_set.hpp"
#include "follower/order/resume_token.hpp"
#include "follower/order/topic_map.hpp"

namespace backplane::follower {

/// Receives what a GapRepair delivers. May call its subscribe() and unsubscribe(), but no other method.
class GapRepairSink {
 public:
  virtual ~GapRepairSink() = default;
  virtual void deliver(const Delivery& delivery) = 0;
  virtual void gap(const Gap& gap) = 0;
  virtual void reset(const Reset& reset) = 0;
};

/// A Replay to request from the broker: events of `pattern` after `after`, up to and including `until`.
struct ReplayRequest {
  std::uint64_t number{};  ///< identifies the request in on_replay_reply() and on_replay_failed()
  std::uint64_t stream{};
  std::string pattern;
  std::uint64_t after{};
  std::uint64_t until{};
  std::string cursor;
};

/// Its reply. The views are valid during on_replay_reply().
struct ReplayReply {
  enum class End : std::uint8_t { complete, more, gone };
  struct Stored {
    std::string_view topic;
    std::span<const std::byte> event;
  };
  struct Destroyed {
    std::string_view topic;
    std::uint64_t first{};  ///< offsets
    std::uint64_t last{};
    bool upstream{};  ///< they were lost before they reached the broker
  };
  std::vector<Stored> events;
  std::vector<Destroyed> destroyed;  ///< events that the broker can no longer read
  End end{End::complete};
  std::string_view cursor;          ///< more
  std::uint64_t first_available{};  ///< gone
};

/// Tails to request from the broker.
struct TailsRequest {
  std::uint64_t number{};  ///< identifies the request in on_tails_reply() and on_tails_failed()
  std::vector<std::string> patterns;
  std::uint64_t after{};
  std::string cursor;
};

struct TailsReply {
  struct Tail {
    std::string_view topic;
    std::uint64_t position{};
    std::uint64_t offset{};
  };
  std::uint64_t stream{};
  std::uint64_t position{};
  std::vector<Tail> tails;
  std::string_view cursor;  ///< empty: complete
};

/// Counters of a GapRepair. At every moment,
///     expected = seen + recovered + lost (of all kinds) + unwanted + GapRepair::awaited()
struct GapRepairCounters {
  std::uint64_t expected{};           ///< by the offsets of events and of tails
  std::uint64_t seen{};               ///< events delivered that arrived live
  std::uint64_t recovered{};          ///< events delivered that a Replay recovered
  std::uint64_t lost_history_gone{};  ///< events announced as lost, as far as their number is known
  std::uint64_t lost_recovery_timeout{};
  std::uint64_t lost_damaged{};
  std::uint64_t lost_upstream{};
  std::uint64_t unwanted{};  ///< events that were unsubscribed from before their turn
  std::uint64_t gaps{};
  std::uint64_t gaps_of_unknown_size{};  ///< of these: the number of lost events is unknown
  std::uint64_t duplicates{};            ///< events that arrived again and were discarded
  std::uint64_t discarded{};             ///< events that the full reorder buffer left to be recovered later
  std::uint64_t late{};                  ///< events delivered after a higher position of their stream
  std::uint64_t resets{};
  std::uint64_t undecodable{};  ///< invalid topics, and events in replies without a stamp
};

/// Delivers the streams of one broker in order. When an event shows a hole, it and the rest of its stream go
/// to the reorder buffer. The missing events are requested (next_replay()) and delivered in their place. If
/// history no longer has them, or nothing is recovered for Options::recovery_limit, a Gap takes their place.
/// A recovery that advances may take as long as it needs. Tails find losses that no later event shows.
///
/// If the reorder buffer is full, events that arrive are not kept: they are missing like the others, and
/// recovered in their turn.
///
/// Within a topic, order is never broken. Within a stream, positions rise, with one exception: only its own
/// topic's next event, or a tail, can show that an event is missing. If higher positions of other topics have
/// been delivered by then, the recovered event is late, and marked as such (Delivery::late). An event does
/// not stay in the reorder buffer much longer than Options::recovery_limit after the last one was recovered.
///
/// Only time in which the reader runs counts: a process that was stopped, or a caller that was busy, finds
/// the broker's replies when it continues.
///
/// Pure: no sockets, time is passed in. Belongs to one thread.
class GapRepair {
 public:
  using Clock = std::chrono::steady_clock;

  struct Options {
    std::chrono::milliseconds recovery_limit{1000};    ///< without anything that advances the recovery
    std::chrono::milliseconds reply_limit{60'000};     ///< without a complete reply, however much arrives
    std::size_t reorder_buffer_bytes_max = 64u << 20;  ///< of events that wait, over all streams
    std::chrono::milliseconds tails_interval{1000};    ///< at least between two rounds of Tails
    std::chrono::milliseconds tails_grace{100};        ///< events that a tail shows may still be in flight
    std::chrono::milliseconds retry_interval{100};     ///< after a Replay without a reply
  };

  GapRepair(const Options& options, GapRepairSink& sink);
  ~GapRepair();
  GapRepair(const GapRepair&) = delete;
  GapRepair& operator=(const GapRepair&) = delete;

  /// As PrefixSet::add() and PrefixSet::remove().
  bool subscribe(std::string_view prefix, std::uint64_t ticket);
  bool unsubscribe(std::string_view prefix);
  [[nodiscard]] const PrefixSet& prefixes() const noexcept { return prefixes_; }

  /// Reading has reached these positions before. A stream that shares its origin with one of them, but is
  /// not the same, is a new incarnation, and reported as a reset. Only before the first live reply.
  void assume(std::span<const StreamPosition> positions);
  /// A live reply of the broker: subscriptions up to `ticket` are active from this position on. After the
  /// first one on a connection, events that were published meanwhile are looked for soon.
  /// A stream of another origin than the one read before is a new incarnation too if `position` is 0: the
  /// broker came back under another name, as a recreated container does. Otherwise another broker has taken
  /// its place, and is read from `position` on. Events of a stream of another origin wait for this.
  void on_live_reply(std::uint64_t ticket, std::uint64_t stream, std::uint64_t position,
                     bool first_on_connection, Clock::time_point now);

  /// The connection was lost: events may be missing that no later event has shown yet.
  void on_disconnected() noexcept { doubt_until_ = ~std::uint64_t{0}; }
  /// After on_live_reply(): events of the current stream up to `position` may be missing unnoticed, until the
  /// low watermark has reached it.
  void doubt_until(std::uint64_t position) noexcept { doubt_until_ = position; }

  /// Maximum of prefetch(), and the best number.
  static constexpr std::size_t prefetched_max = 16;
  /// Announces that events of these topics, at most prefetched_max, are about to arrive in this order. What
  /// is known of the topics is prefetched from memory. Other events may arrive instead, at no extra cost.
  void prefetch(std::span<const std::string_view> topics);
  /// Admits an event that arrived live. The views need to be valid during the call only.
  void on_event(std::string_view topic, std::span<const std::byte> event, const wire::Stamp& stamp,
                Clock::time_point now);

  /// Applies time limits. `drained`: there was nothing more to receive. `connected`: requests can be sent, or
  /// nothing that is still to be received will change that.
  void tick(Clock::time_point now, bool drained, bool connected = true);
  [[nodiscard]] Clock::time_point next_deadline() const;

  /// What to request from the broker now: one Replay and one Tails at a time. Each ends in its reply or its
  /// failure, by its number; those of abandoned requests are ignored. `refused`: the broker replied with an
  /// error.
  [[nodiscard]] std::optional<ReplayRequest> next_replay(Clock::time_point now);
  void on_replay_reply(std::uint64_t number, const ReplayReply& reply, Clock::time_point now);
  /// A part of the reply has arrived, or of what comes before it: the recovery advances.
  void on_replay_progress(std::uint64_t number, Clock::time_point now);
  void on_replay_failed(std::uint64_t number, bool refused, Clock::time_point now);
  [[nodiscard]] std::optional<TailsRequest> next_tails(Clock::time_point now);
  void on_tails_reply(std::uint64_t number, const TailsReply& reply, Clock::time_point now);
  void on_tails_failed(std::uint64_t number, Clock::time_point now);
  /// When a request may be due; time_point::min(): now.
  [[nodiscard]] Clock::time_point request_deadline() const;

  /// The stream of the broker that is being read; 0: not known yet.
  [[nodiscard]] std::uint64_t current_stream() const noexcept { return current_stream_; }
  [[nodiscard]] const GapRepairCounters& counters() const noexcept { return counters_; }
  /// No event or gap of current_stream() at or below this position can arrive any more, however late. Holds
  /// for the subscriptions that existed when it was found.
  [[nodiscard]] std::uint64_t low_watermark() const noexcept { return low_watermark_; }
  /// Whether an event may still be delivered, or announced as lost: it is above the low watermark, its topic
  /// was subscribed to when it was published, and it has not been delivered. A gap that waits in the reorder
  /// buffer does not count.
  [[nodiscard]] bool may_arrive(std::string_view topic, const wire::Stamp& stamp) const;
  /// Bytes of events in the reorder buffer.
  [[nodiscard]] std::size_t reorder_buffer_bytes() const noexcept { return reorder_buffer_bytes_; }
  /// Missing events that may still arrive, as far as their number is known, and the events that wait for
  /// them. Counted on each call.
  [[nodiscard]] std::uint64_t awaited() const;

 private:
  struct TopicState {
    std::uint64_t offset{};  // of the last event that was admitted, or is known to be missing
    std::uint64_t position{};
    PrefixSet::Ref prefix;
    std::uint64_t prefix_checked{};  // PrefixSet::removals() when `prefix` was last current
    std::uint64_t mark{};            // Delivery::mark
  };
  struct Hole {
    std::uint64_t first{};  // missing offsets; 0: unknown
    std::uint64_t last{};
    std::uint64_t
        after{};  // the missing events are in (after, until]; `until` is the position of the last one
    std::uint64_t until{};
    // Everything of the topic up to here that has not arrived is lost. The next event that arrived is after
    // it.
    std::uint64_t lost_through{};
    Clock::duration opened{};  // by run_time_
    bool replay_alone{};       // not together with other holes
  };
  struct Buffered {
    std::string topic;
    std::string event;
    wire::Stamp stamp;
    bool replayed{};
    std::optional<Gap> gap;  // instead of an event
  };
  struct Early {
    std::string topic;
    std::string event;
    wire::Stamp stamp;
  };
  struct Arrival {
    Clock::duration at{};  // by run_time_
    std::uint64_t position{};
  };
  struct Stream;
  using Topics = TopicMap<TopicState>;
  struct Event {
    std::string_view topic;
    std::span<const std::byte> bytes;
    wire::Stamp stamp;
    bool replayed{};
    Topics::Guess guess{Topics::none};
  };
  /// Look-ups made for the events that arrive next.
  struct Prefetched {
    std::array<Topics::Guess, prefetched_max> guesses{};
    std::size_t next{};
    std::size_t end{};
  };
  struct Replaying {
    ReplayRequest request;
    std::uint64_t covered_after{};       // where the first request began
    std::uint64_t progress{};            // the highest position that arrived
    std::optional<Pattern> whole_range;  // replays the range of all topics, to recover everything lost in it
    bool sent{};
    struct Destroyed {
      std::string topic;
      std::uint64_t first{};
      std::uint64_t last{};
      bool upstream{};
    };
    std::vector<Destroyed> destroyed;  // as the broker has reported
    bool restarted{};                  // without the cursor, which the broker has refused
  };
  struct TailsRound {
    std::uint64_t number{};
    std::uint64_t after{};
    std::string cursor;
    bool sent{};
    bool replied{};            // at least once
    std::uint64_t verified{};  // everything up to here is checked when the round ends
    Clock::time_point started;
  };
  struct UnconfirmedTail {
    std::string topic;
    std::uint64_t position{};
    std::uint64_t offset{};
  };

  Stream& stream_of(std::uint64_t id);
  Stream* find_stream(std::uint64_t id);
  void retire(Stream& stream, std::uint64_t new_stream);
  [[nodiscard]] bool is_of_another_origin(std::uint64_t id) const;
  void keep_early(std::string_view topic, std::span<const std::byte> event, const wire::Stamp& stamp);
  void admit_early(std::uint64_t stream, Clock::time_point now);
  void set_current_stream(std::uint64_t stream, std::uint64_t position);

  void admit(Stream& stream, const Event& event, Clock::time_point now);
  [[nodiscard]] TopicState* find_topic(Stream& stream, std::string_view topic,
                                       Topics::Guess guess = Topics::none);
  void admit_first(Stream& stream, const Event& event, Clock::time_point now);
  void fill_hole(Stream& stream, const Event& event, Clock::time_point now);
  [[nodiscard]] bool is_replaying_range(const Stream& stream) const noexcept;
  void forward(Stream& stream, const Event& event, std::uint64_t* mark, Clock::time_point now);
  void buffer(Stream& stream, const Event& event, Clock::time_point now);
  void discard(Stream& stream, const Event& event, Clock::time_point now);
  void deliver(Stream& stream, const Delivery& event, bool replayed);
  [[nodiscard]] std::uint64_t resume_position(const Stream& stream) const noexcept;
  void announce(const Buffered& buffered);
  void open_hole(Stream& stream, std::string_view topic, Hole hole, Clock::time_point now);
  void declare_lost(Stream& stream, std::string_view topic, const Hole& hole, GapReason reason);
  using Condition = std::function<bool(std::string_view topic, const Hole&)>;
  void declare_lost_if(Stream& stream, GapReason reason, const Condition& condition);
  void release_ready(Stream& stream, Clock::time_point now);
  void release(Stream& stream, std::uint64_t up_to);
  [[nodiscard]] std::uint64_t complete_through(const Stream& stream) const;

  void run_until(Clock::time_point now);
  [[nodiscard]] Clock::duration step_max() const;
  [[nodiscard]] bool is_overdue(Clock::duration since) const;

  [[nodiscard]] std::optional<Replaying> choose_replay() const;
  [[nodiscard]] std::optional<Replaying> choose_lowest(const Stream& stream) const;
  template <class Explains>
  void declare_destroyed(Stream& stream, const std::vector<Replaying::Destroyed>& destroyed,
                         const Explains& explains);
  void finish_replay(Stream& stream, Clock::time_point now);
  void replay_each_hole(Stream& stream);
  void note_tail(Stream& stream, const TailsReply::Tail& tail, Clock::time_point now);
  void check_tails(Clock::time_point now, bool drained);
  void end_tails_round(Clock::duration rest, Clock::time_point now);
  void purge_topics(Clock::time_point now);
  void find_low_watermark();

  Options options_;
  GapRepairSink& sink_;
  PrefixSet prefixes_;
  std::vector<std::unique_ptr<Stream>> streams_;
  Stream* recent_{};          // the stream of the last event
  std::vector<Early> early_;  // events of streams of another origin, until the live reply
  std::size_t early_bytes_{};
  Prefetched prefetched_;
  std::uint64_t current_stream_{};  // 0: not known yet
  std::size_t reorder_buffer_bytes_{};
  bool reorder_buffer_full_{};  // until it is half empty
  GapRepairCounters counters_;

  // How long the reader has run, and when by that time the recovery advanced last.
  Clock::duration run_time_{};
  Clock::time_point run_until_{};
  bool time_counts_{true};
  Clock::duration advanced_{};
  Clock::duration replied_{};  // the same, by a complete reply

  std::uint64_t last_request_{};
  std::optional<Replaying> replaying_;
  Clock::time_point replay_at_{};  // not before, after a failure

  std::optional<TailsRound> tails_round_;
  Clock::time_point tails_at_{};
  std::uint64_t verified_{};  // everything of current_stream_ up to here has been checked
  std::uint64_t low_watermark_{};
  std::uint64_t doubt_until_{};  // 0: no events are missing, as far as is known
  std::vector<UnconfirmedTail> unconfirmed_tails_;
  Clock::time_point tails_noted_at_{};
  std::uint64_t tails_up_to_{};  // the highest position of unconfirmed_tails_

  std::uint64_t purged_removals_{};
  Clock::time_point purge_at_{};
};

/// What is known of one stream.
struct GapRepair::Stream {
  std::uint64_t id{};
  Topics topics;
  std::uint64_t first_arrived{};  // the first position that arrived live
  std::uint64_t arrived{};        // the highest position that arrived live
  std::uint64_t delivered{};      // the highest position that has been delivered
  std::map<std::string, std::vector<Hole>, std::less<>> holes;  // open ones; no topic with an empty list
  std::multimap<std::uint64_t, Buffered> reorder_buffer;        // by position
  std::deque<Arrival> arrivals;                                 // of buffered events, in order of time
  std::uint64_t overdue{};  // buffered events up to here have waited for too long
};

}  // namespace backplane::follower
