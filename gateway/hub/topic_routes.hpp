#pragma once
// Which audiences receive the events of each topic.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/topic/pattern.hpp"
#include "core/topic/string_hash.hpp"
#include "core/wire/stamp.hpp"
#include "fanout/log/ids.hpp"
#include "follower/order/delivery.hpp"
#include "gateway/access/rights.hpp"
#include "gateway/encode/encoder.hpp"
#include "gateway/hub/outlet.hpp"
#include "gateway/hub/pattern_trie.hpp"
#include "gateway/hub/prefix_table.hpp"
#include "gateway/hub/route_table.hpp"
#include "gateway/session/topic_directory.hpp"

namespace backplane::gateway {

class RetainedValues;
struct SubscribedPattern;

/// A position in a stream, which is named by the engine's number.
struct EnginePosition {
  std::uint64_t position{};
  fanout::StreamId stream{fanout::no_stream};

  /// Whether `other` is in the same stream, at this position or before it.
  [[nodiscard]] bool covers(const EnginePosition& other) const noexcept {
    return stream == other.stream && position >= other.position;
  }
  /// Moves to `to`, unless that is covered already.
  void advance(const EnginePosition& to) noexcept {
    if (!covers(to)) *this = to;
  }
};

/// The clients that receive one pattern in one format at one interval: one of the engine's audiences. If they
/// may read only part of the pattern's topics, all of them may read the same part. Clients with an interval
/// are also in a second audience, which gets notices at once and nothing else.
struct Audience {
  fanout::AudienceId id{};
  SubscribedPattern* pattern{};
  Format format{};
  std::chrono::milliseconds every{0};
  ReadViewPtr view;  ///< what its members may read; nullptr: the whole pattern
  bool notices{};    ///< this is the second audience
  std::size_t members{};
  EnginePosition newest_start{};  ///< where its newest member began; see TopicRoutes::notice_routes()

  [[nodiscard]] bool may_read(std::string_view topic) const noexcept {
    return view == nullptr || view->may_read(topic);
  }
};

/// One pattern that clients are subscribed to.
struct SubscribedPattern {
  Pattern pattern;
  std::uint64_t ticket{};       ///< of the upstream subscription: the pattern is active from this ticket on
  std::size_t subscriptions{};  ///< counted by the hub
  std::vector<std::unique_ptr<Audience>> audiences;  ///< changed by TopicRoutes only
  RetainedValues* retained{};                        ///< set by TopicRoutes::set_retained() only
};

/// One topic: its routes, and the last event that was routed.
struct RoutedTopic {
  TopicDirectory::Name name;
  std::uint32_t index{};       ///< in the table of topics
  std::uint64_t generation{};  ///< of the patterns that `routes` were computed from; 0: never computed
  ByFormat<fanout::RouteId> routes;
  bool needed{};  ///< an audience or a cached value needs its events
  bool cached{};  ///< some pattern that matches has cached values
  // The stream of its last event, and the topic's number in it. `numbers` has the numbers in all streams.
  std::uint64_t stream{};
  fanout::StreamId stream_id{fanout::no_stream};
  fanout::TopicId id{};
  std::uint64_t offset{};
  std::uint64_t serial{};  ///< of its last event, as the hub counts events
  std::vector<std::pair<std::uint64_t, fanout::TopicId>> numbers;
};

/// Maps topics to routes. A topic's route is the set of audiences whose pattern matches it, computed when an
/// event of the topic arrives and kept with the topic. A new audience of an exact pattern outdates one
/// topic's routes, one of a pattern with wildcards those of all topics; each topic recomputes its routes with
/// its next event. Permission is part of this: an audience that may not read a topic is not in its route, and
/// nothing is decided per event.
///
/// Lives on the hub's thread. Owns the subscribed patterns, their audiences, the topics, and the engine's
/// numbers for audiences, routes, topics and streams.
class TopicRoutes {
 public:
  /// `outlet` and `directory` outlive it.
  TopicRoutes(Outlet& outlet, TopicDirectory& directory);

  // ---- patterns ----

  /// @returns nullptr if nobody is subscribed to the pattern.
  [[nodiscard]] SubscribedPattern* find(std::string_view pattern);
  /// Adds a pattern that find() does not know. The reference is valid until remove().
  SubscribedPattern& add(const Pattern& pattern, std::uint64_t ticket);
  /// Removes a pattern that has neither audiences nor retained values.
  void remove(SubscribedPattern& pattern);
  /// Calls `found(SubscribedPattern&)` for each pattern that matches `topic`.
  template <class Found>
  void for_each_match(std::string_view topic, Found found) {
    // A pattern without wildcards is equal to the one topic that it matches.
    if (const auto exact = patterns_.find(topic); exact != patterns_.end()) found(*exact->second);
    wildcards_.match(topic, [&](SubscribedPattern* pattern) { found(*pattern); });
  }
  /// Sets the cached values of a pattern, or removes them (nullptr). Topics that match are `cached` from
  /// their next event on.
  void set_retained(SubscribedPattern& pattern, RetainedValues* retained);

  // ---- audiences ----

  /// Adds a member to an audience, which is made if there is none. The engine is informed of the audience,
  /// not of the member.
  /// @param notices the audience for notices of clients with an interval
  /// @param view what the member may read; nullptr: the whole pattern
  Audience& add_member(SubscribedPattern& pattern, Format format, std::chrono::milliseconds every,
                       bool notices, const ReadViewPtr& view = nullptr);
  /// The audience for notices that goes with `audience`, which has an interval.
  [[nodiscard]] static Audience& notice_audience(const Audience& audience);
  /// Takes back one add_member(). The last one ends the audience.
  void remove_member(Audience& audience);
  /// A subscription to `pattern` now begins at `start`.
  static void set_start(SubscribedPattern& pattern, const EnginePosition& start) {
    for (const auto& audience : pattern.audiences) audience->newest_start.advance(start);
  }

  // ---- prefixes of ZeroMQ clients ----

  [[nodiscard]] PrefixTable& prefixes() noexcept { return prefixes_; }
  /// As add_member(): adds a member to an audience of the prefix.
  PrefixAudience& add_prefix_member(SubscribedPrefix& prefix, const ReadViewPtr& view);
  void remove_prefix_member(PrefixAudience& audience);

  // ---- topics ----

  /// The topic of an event, with current routes. Without a lookup if the reader kept the mark that the last
  /// call left in `delivery`. The reference is valid until the next call with a new topic.
  RoutedTopic& topic(const Delivery& delivery);
  RoutedTopic& topic(std::string_view name);
  /// Records an event of the topic. `serial` is the hub's count of events.
  void advance(RoutedTopic& topic, const wire::Stamp& stamp, std::uint64_t serial) {
    if (topic.stream != stamp.stream) enter_stream(topic, stamp.stream);
    topic.offset = stamp.offset;
    topic.serial = serial;
  }
  /// The engine's number for a topic in a stream; made if there is none.
  fanout::TopicId number(RoutedTopic& topic, std::uint64_t stream);
  [[nodiscard]] std::size_t topics() const noexcept { return topics_.size(); }

  // ---- streams ----

  /// The engine's number for a stream; made if there is none.
  fanout::StreamId stream_id(std::uint64_t stream);
  /// The same, if there is one.
  [[nodiscard]] std::optional<fanout::StreamId> find_stream(std::uint64_t stream) const noexcept;
  /// Ends a stream: retires its numbers, and lets the engine discard what it remembers of it. Calls
  /// `had_events(const RoutedTopic&)` for each topic that had events in it.
  template <class HadEvents>
  void end_stream(std::uint64_t stream, HadEvents had_events) {
    for (RoutedTopic& topic : topics_) {
      if (leave_stream(topic, stream)) had_events(std::as_const(topic));
    }
    outlet_.advance_low_watermark(stream_id(stream), std::numeric_limits<std::uint64_t>::max());
    std::erase_if(streams_, [&](const auto& each) { return each.first == stream; });
  }

  // ---- notices ----

  struct NoticeRoutes {
    bool any{};          ///< some audience receives notices about the topic
    bool began_after{};  ///< some subscription began after the notice's position: there are no routes
    ByFormat<fanout::RouteId> routes{};
  };
  /// The routes of a notice about `topic` (or about a pattern, for its exact subscribers). They are valid
  /// until the next call. Clients with an interval get notices through their second audience. ZeroMQ clients
  /// get none here: see Hub::announce_to_zmtp().
  /// @param position of what the notice is about; 0: the notice concerns every subscription
  NoticeRoutes notice_routes(std::string_view topic, const EnginePosition& position);

 private:
  [[nodiscard]] fanout::AudienceId take_audience_id();
  /// Marks the routes of topics that match as outdated.
  void outdate(const SubscribedPattern& pattern);
  void compute_routes(RoutedTopic& topic);
  RoutedTopic& add_topic(std::string_view name);
  void forget_topics();
  void enter_stream(RoutedTopic& topic, std::uint64_t stream);
  bool leave_stream(RoutedTopic& topic, std::uint64_t stream);

  Outlet& outlet_;
  TopicDirectory& directory_;
  RouteTable routes_;
  std::unordered_map<std::string, std::unique_ptr<SubscribedPattern>, StringHash, std::equal_to<>> patterns_;
  PrefixTable prefixes_;
  PatternTrie<SubscribedPattern*> wildcards_;  // those of patterns_ that have any
  std::uint64_t generation_{1};                // of the patterns with wildcards, and of the prefixes
  std::uint32_t audiences_{};                  // numbers assigned so far
  std::vector<fanout::AudienceId> free_audiences_;
  std::deque<RoutedTopic> topics_;
  std::unordered_map<std::string_view, RoutedTopic*> topics_by_name_;
  std::uint32_t topics_epoch_{1};  // how often the table of topics has started afresh
  std::vector<std::pair<std::uint64_t, fanout::StreamId>> streams_;
  std::uint16_t last_stream_id_{};
  ByFormat<fanout::RouteId> notice_routes_;         // of the last notice: many of them arrive together
  ByFormat<std::vector<fanout::AudienceId>> sets_;  // scratch memory
};

}  // namespace backplane::gateway
