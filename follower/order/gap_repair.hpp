#pragma once
// GapRepair streams in order, without holes: what is missing is fetched, or announced.

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

#include "follower/order/delivery.hpp"
#include "follower/order/prefix_set.hpp"
#include "follower/order/topic_map.hpp"

namespace backplane::follower {

/// Who takes what a GapRepair gives. May call the GapRepair's subscribe() and unsubscribe(), nothing else.
class GapRepairSink {
 public:
  virtual ~GapRepairSink() = default;
  virtual void deliver(const Delivery& delivery) = 0;
  virtual void gap(const Gap& gap) = 0;
  virtual void reset(const Reset& reset) = 0;
};

/// A Replay to be asked of the broker: `pattern`'s events after `after`, up to and including `until`.
struct ReplayRequest {
  std::uint64_t number{};  ///< to be given back with what becomes of it
  std::uint64_t stream{};
  std::string pattern;
  std::uint64_t after{};
  std::uint64_t until{};
  std::string cursor;
};

/// Its answer. The views hold during the call that it is given to.
struct ReplayReply {
  enum class End : std::uint8_t { complete, more, gone };
  struct Stored {
    std::string_view topic;
    std::span<const std::byte> event;
  };
  std::vector<Stored> events;
  End end{End::complete};
  std::string_view cursor;          ///< more
  std::uint64_t first_available{};  ///< gone
};

/// Tails to be asked of the broker.
struct TailsRequest {
  std::uint64_t number{};  ///< as above
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

/// What a GapRepair has seen. At every moment, each counted where it happens,
///     expected = seen + recovered + lost (of both kinds) + unwanted + GapRepair::awaited()
struct GapRepairCounters {
  std::uint64_t expected{};           ///< by their numbers: offsets of events, and those that tails tell of
  std::uint64_t seen{};               ///< events delivered that came as they were published
  std::uint64_t recovered{};          ///< events delivered that Replay brought
  std::uint64_t lost_history_gone{};  ///< events announced as lost, where their number is known
  std::uint64_t lost_recovery_timeout{};
  std::uint64_t unwanted{};  ///< neither: when it was their turn, nobody was subscribed to them any more
  std::uint64_t gaps{};
  std::uint64_t gaps_of_unknown_size{};  ///< of these: nobody knows how many were lost
  std::uint64_t duplicates{};            ///< events that came again and were left out
  std::uint64_t late{};                  ///< delivered behind a higher position of their stream
  std::uint64_t resets{};
  std::uint64_t undecodable{};  ///< topics that are none, and answers' events without a stamp
};

/// Puts what arrives of one broker's streams in order. An event that shows a hole holds back its whole
/// stream; what is missing is to be asked for (next_replay()), and is spliced in; what cannot be had in
/// time becomes a Gap in its place. A loss that no later event shows is found by Tails.
///
/// Within a topic, order is never broken. Within a stream, positions rise, with one exception: nobody
/// can see that an event is missing before its own topic's next event, or a tail, shows it; if that is
/// after higher positions of other topics were delivered, what is recovered comes late, and says so.
/// For the same reason no event is buffered back much longer than Options::recovery_limit.
///
/// Pure: no sockets, time is passed in. Belongs to one thread.
class GapRepair {
 public:
  using Clock = std::chrono::steady_clock;

  struct Options {
    std::chrono::milliseconds recovery_limit{1000};    ///< how long the others wait for what is missing
    std::size_t reorder_buffer_bytes_max = 64u << 20;  ///< and how much of them, over all streams
    std::chrono::milliseconds tails_interval{1000};    ///< at most so often
    std::chrono::milliseconds tails_grace{100};        ///< what a tail shows may be under way for so long
    std::chrono::milliseconds retry_interval{100};     ///< after a Replay that nobody answered
  };

  GapRepair(const Options& options, GapRepairSink& sink);
  ~GapRepair();
  GapRepair(const GapRepair&) = delete;
  GapRepair& operator=(const GapRepair&) = delete;

  /// As PrefixSet has them.
  bool subscribe(std::string_view prefix, std::uint64_t ticket);
  bool unsubscribe(std::string_view prefix);
  [[nodiscard]] const PrefixSet& prefixes() const noexcept { return prefixes_; }

  /// A live answer of the broker: subscriptions up to `ticket` are in force from this position on.
  /// `anew`: it is the first on this connection, so what was published meanwhile is checked for soon.
  void on_live_reply(std::uint64_t ticket, std::uint64_t stream, std::uint64_t position,
                     bool first_on_connection, Clock::time_point now);

  /// So many events are best announced together.
  static constexpr std::size_t prefetched_max = 16;
  /// Events of these topics, at most prefetched_max, are about to come in this order: what is known of them
  /// is fetched from memory side by side. Others may come instead; it costs them no more than without it.
  void prefetch(std::span<const std::string_view> topics);
  /// An event has come. The views need hold only during the call.
  void on_event(std::string_view topic, std::span<const std::byte> event, const wire::Stamp& stamp,
                Clock::time_point now);

  /// What time brings. `drained`: there was nothing more to receive.
  void tick(Clock::time_point now, bool drained);
  [[nodiscard]] Clock::time_point next_deadline() const;

  /// What to ask the broker now; one Replay and one Tails at a time, each to be followed by its answer
  /// or by its failure, with its number: what is no longer waited for is passed over then.
  /// `refused`: the broker did answer, but with an error.
  [[nodiscard]] std::optional<ReplayRequest> next_replay(Clock::time_point now);
  void on_replay_reply(std::uint64_t number, const ReplayReply& reply, Clock::time_point now);
  void on_replay_failed(std::uint64_t number, bool refused, Clock::time_point now);
  [[nodiscard]] std::optional<TailsRequest> next_tails(Clock::time_point now);
  void on_tails_reply(std::uint64_t number, const TailsReply& reply, Clock::time_point now);
  void on_tails_failed(std::uint64_t number, Clock::time_point now);
  /// When one of these may be wanted; time_point::min(): now.
  [[nodiscard]] Clock::time_point request_deadline() const;

  /// The stream of the broker that is read; 0: not known yet.
  [[nodiscard]] std::uint64_t current_stream() const noexcept { return current_stream_; }
  [[nodiscard]] const GapRepairCounters& counters() const noexcept { return counters_; }
  /// No event of current_stream() that has at most this position comes any more, nor a gap, however late; for
  /// what was subscribed to when that was found out.
  [[nodiscard]] std::uint64_t low_watermark() const noexcept { return low_watermark_; }
  /// Bytes of events that wait for others.
  [[nodiscard]] std::size_t reorder_buffer_bytes() const noexcept { return reorder_buffer_bytes_; }
  /// Events that are missing and may still come, as far as their number is known, and all that waits for
  /// them: counted anew each time.
  [[nodiscard]] std::uint64_t awaited() const;

 private:
  struct TopicState {
    std::uint64_t offset{};  // of the last event that was taken, or is known to be missing
    std::uint64_t position{};
    PrefixSet::Ref prefix;
    std::uint64_t prefix_checked{};  // PrefixSet::removals() when it was alive
    std::uint64_t mark{};            // Delivery::mark
  };
  struct Hole {
    std::uint64_t first{};  // offsets that are missing; 0: unknown
    std::uint64_t last{};
    std::uint64_t after{};  // they are in (after, until] of the stream, `until` being the last one's
    std::uint64_t until{};
    // Up to here, all that has not come is lost; the topic's next event that has come is behind it.
    std::uint64_t lost_through{};
    Clock::time_point deadline;
    bool replay_alone{};  // not to be asked for together with others
  };
  struct Buffered {
    std::string topic;
    std::string event;
    wire::Stamp stamp;
    bool replayed{};
    std::optional<Gap> gap;  // instead of an event
  };
  struct Arrival {
    Clock::time_point at;
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
  /// What was looked up ahead, for the events that come next.
  struct Prefetched {
    std::array<Topics::Guess, prefetched_max> guesses{};
    std::size_t next{};
    std::size_t end{};
  };
  struct Replaying {
    ReplayRequest request;
    std::uint64_t covered_after{};  // where the first ask began
    std::uint64_t progress{};       // the last position that came
    bool whole_range{};             // whatever was lost in a range, of all topics
    bool sent{};
  };
  struct TailsRound {
    std::uint64_t number{};
    std::uint64_t after{};
    std::string cursor;
    bool sent{};
    bool replied{};            // a first answer has come
    std::uint64_t verified{};  // up to where all is checked when it ends
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
  void set_current_stream(std::uint64_t stream, std::uint64_t position);

  void admit(Stream& stream, const Event& event, Clock::time_point now);
  [[nodiscard]] TopicState* find_topic(Stream& stream, std::string_view topic,
                                       Topics::Guess guess = Topics::none);
  void admit_first(Stream& stream, const Event& event, Clock::time_point now);
  void fill_hole(Stream& stream, const Event& event, Clock::time_point now);
  [[nodiscard]] bool is_replaying_range(const Stream& stream) const noexcept;
  void forward(Stream& stream, const Event& event, std::uint64_t* mark, Clock::time_point now);
  void buffer(Stream& stream, const Event& event, Clock::time_point now);
  void deliver(Stream& stream, const Delivery& event, bool replayed);
  void announce(const Buffered& buffered);
  void open_hole(Stream& stream, std::string_view topic, Hole hole, Clock::time_point now);
  void declare_lost(Stream& stream, std::string_view topic, const Hole& hole, GapReason reason);
  using Condition = std::function<bool(std::string_view topic, const Hole&)>;
  void declare_lost_if(Stream& stream, GapReason reason, const Condition& condition);
  void release_ready(Stream& stream, Clock::time_point now);
  void release(Stream& stream, std::uint64_t up_to);

  [[nodiscard]] std::optional<Replaying> choose_replay() const;
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
  Stream* recent_{};  // of the last event
  Prefetched prefetched_;
  std::uint64_t current_stream_{};  // the stream of the broker that we read from; 0: not known yet
  std::size_t reorder_buffer_bytes_{};
  GapRepairCounters counters_;

  std::uint64_t last_request_{};
  std::optional<Replaying> replaying_;
  Clock::time_point replay_at_{};  // not before

  std::optional<TailsRound> tails_round_;
  Clock::time_point tails_at_{};
  std::uint64_t verified_{};  // all of current_stream_ up to here has been checked
  std::uint64_t low_watermark_{};
  std::vector<UnconfirmedTail> unconfirmed_tails_;
  Clock::time_point tails_noted_at_{};
  std::uint64_t tails_up_to_{};  // the highest position among them

  std::uint64_t purged_removals_{};
  Clock::time_point purge_at_{};
};

/// What is known of one stream.
struct GapRepair::Stream {
  std::uint64_t id{};
  Topics topics;
  std::uint64_t first_arrived{};                                // the position that came live first
  std::uint64_t arrived{};                                      // the highest position that came live
  std::uint64_t delivered{};                                    // the highest position that was delivered
  std::map<std::string, std::vector<Hole>, std::less<>> holes;  // open ones; no topic without
  std::multimap<std::uint64_t, Buffered> reorder_buffer;        // by position
  std::deque<Arrival> arrivals;                                 // of what is buffered, in order of time
  std::uint64_t overdue{};  // of what is buffered, up to here has waited for too long
};

}  // namespace backplane::follower
