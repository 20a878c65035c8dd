#pragma once
// The retained values of the patterns that clients request with `last`.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "core/wire/stamp.hpp"
#include "fanout/skip.hpp"
#include "follower/broker_reader.hpp"
#include "gateway/encode/encoder.hpp"
#include "gateway/hub/topic_routes.hpp"

namespace backplane::gateway {

/// Bytes that any number of clients get.
using SharedText = std::shared_ptr<const std::string>;

/// The retained values of one pattern. Belongs to a RetainedCache, which alone changes it.
class RetainedValues {
 public:
  using Clock = std::chrono::steady_clock;

  explicit RetainedValues(SubscribedPattern& pattern) : pattern_(pattern) {}

  [[nodiscard]] SubscribedPattern& pattern() const noexcept { return pattern_; }
  /// Whether the broker has replied: the values can be read.
  [[nodiscard]] bool complete() const noexcept { return request_ == 0; }
  /// Whether clients read them in slices.
  [[nodiscard]] bool is_being_read() const noexcept { return readers_ > 0; }
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
  /// The broker's reply contained all events up to these positions.
  [[nodiscard]] const StreamPositions& as_of() const noexcept { return as_of_; }
  /// Topics that have or had a value.
  [[nodiscard]] std::size_t size() const noexcept { return by_topic_.size(); }

 private:
  friend class RetainedCache;
  /// The newest known value of one topic.
  struct Value {
    wire::Stamp stamp;
    std::uint64_t round{};       ///< the request that returned it, or during which it arrived live
    std::string event;           ///< stamped; empty: the topic has no value
    ByFormat<SharedText> lines;  ///< encoded when first needed
  };

  SubscribedPattern& pattern_;
  std::uint64_t request_{};  // in progress; 0: none
  std::uint64_t round_{};    // counts requests; a value of an earlier round that the reply lacks has ended
  StreamPositions as_of_;
  Clock::time_point valid_until_ = Clock::time_point::max();  // then a value may expire by its ttl
  std::map<std::string, Value, std::less<>> by_topic_;
  std::size_t readers_{};
  std::size_t bytes_{};
  Clock::time_point requested_at_;
  Clock::time_point used_at_;
  // All values at once, made when first needed and discarded when a value changes.
  ByFormat<SharedText> texts_;
  fanout::SkipPtr skip_;
};

/// Requests the retained values of a pattern from the broker once, keeps them up to date by live events, and
/// serves every client that requests them meanwhile. Lives on the hub's thread. Owns the values and bounds
/// their bytes.
///
/// Why one reply serves all clients, also those that subscribe while the request is in progress or after it:
/// let n be the newest event of a topic that the cache knows when it serves a client, from the reply or live.
/// Live events reach the hub in the order of their offsets, and the client joined its audience before it was
/// served. The client therefore receives everything from n + 1 on, and the engine skips n and what precedes
/// it. No event after n is missing, and none arrives twice. And n is no older than the client's request: the
/// broker's reply is as of a moment after the request, every event since then is in the cache, and it makes
/// no difference whether the client's request came before or after that moment.
class RetainedCache {
 public:
  using Clock = RetainedValues::Clock;

  struct Limits {
    std::size_t bytes_max = 64u << 20;          ///< of all patterns together
    std::chrono::milliseconds idle_max{5'000};  ///< since the last use of the values
    std::chrono::milliseconds age_max{60'000};  ///< since the values were requested
  };

  /// `routes` and `encoder` outlive it.
  RetainedCache(Limits limits, TopicRoutes& routes, Encoder& encoder)
      : limits_(limits), routes_(routes), encoder_(encoder) {}

  /// Called once, before all else. `broker` outlives the cache's use.
  void attach(BrokerReader& broker) noexcept { broker_ = &broker; }

  // ---- keeping values ----

  /// The values of a pattern. If there are none, or one of them may have expired, they are requested: they
  /// are not complete() until finish(). Valid until they are dropped.
  RetainedValues& open(SubscribedPattern& pattern, Clock::time_point now);
  /// The values that a request is for; nullptr if they have been dropped.
  [[nodiscard]] RetainedValues* find(std::uint64_t request);
  /// Adds a value from the broker's reply. Topics that do not match the pattern are ignored.
  void add(RetainedValues& values, const Delivery& delivery);
  /// Ends the request. After an error, the values stay incomplete in content: the caller drops them.
  void finish(RetainedValues& values, const RetainedEnd& end, Clock::time_point now);
  /// Records a live event of a topic that matches.
  void update(RetainedValues& values, const Delivery& delivery);
  /// Above the limit, the caller drops values that nobody reads.
  [[nodiscard]] bool is_full() const noexcept { return bytes_ > limits_.bytes_max; }
  [[nodiscard]] std::size_t bytes_max() const noexcept { return limits_.bytes_max; }

  // ---- discarding values ----

  /// The newest event of `topic` was lost: its value is unknown. Values that nobody waits for or reads are
  /// dropped; otherwise the topic has no value.
  void evict(SubscribedPattern& pattern, std::string_view topic);
  /// Events may have been missed: drops all values that nobody waits for or reads, and lets no new client use
  /// the others for long. If a stream has ended, its values are evicted.
  void invalidate(std::optional<std::uint64_t> ended_stream);
  /// Drops values that have been idle or kept for too long.
  void expire(Clock::time_point now);
  /// Drops a pattern's values, if it has any, and cancels their request.
  void drop(SubscribedPattern& pattern);
  [[nodiscard]] bool empty() const noexcept { return kept_.empty(); }

  // ---- reading complete values ----

  /// All values in one text, in the order of their topics.
  const SharedText& all(RetainedValues& values, Format format, Clock::time_point now);
  /// What the engine must not send again to a client that got all().
  const fanout::SkipPtr& skip(RetainedValues& values);

  void begin_slices(RetainedValues& values) noexcept { ++values.readers_; }
  void end_slices(RetainedValues& values) noexcept { --values.readers_; }
  /// Appends values of topics after `after`, which it advances, until `out` has `bytes_max` bytes. Leaves out
  /// values for which `select(topic, stamp)` returns false.
  /// @returns whether that was all.
  using Select = std::function<bool(std::string_view topic, const wire::Stamp& stamp)>;
  bool append_slice(RetainedValues& values, Format format, std::size_t bytes_max, const Select& select,
                    Clock::time_point now, std::string& after, std::string& out);

  /// Values that could not be encoded; each was replaced by a gap.
  [[nodiscard]] std::uint64_t undecodable() const noexcept { return undecodable_; }

 private:
  using Value = RetainedValues::Value;

  void request(RetainedValues& values, Clock::time_point now);
  void store(RetainedValues& values, const Delivery& delivery, bool live);
  void clear(RetainedValues& values, Value& value);
  [[nodiscard]] static bool is_in_use(const RetainedValues& values) noexcept {
    return !values.complete() || values.is_being_read();
  }
  const SharedText& line(RetainedValues& values, Value& value, std::string_view topic, Format format,
                         Clock::time_point now);

  const Limits limits_;
  TopicRoutes& routes_;
  Encoder& encoder_;
  BrokerReader* broker_{};
  std::unordered_map<RetainedValues*, std::unique_ptr<RetainedValues>> kept_;
  std::unordered_map<std::uint64_t, RetainedValues*> by_request_;
  std::size_t bytes_{};  // of all values
  std::uint64_t undecodable_{};
};

}  // namespace backplane::gateway
