#pragma once
// What a Hub keeps of clients, patterns and topics. Only hub*.cpp includes this.

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gateway/hub/hub.hpp"
#include "gateway/session/subscriber.hpp"

namespace backplane::gateway {

/// All who want one pattern in one format at one interval: one of the engine's audiences. Those who want it
/// at an interval are in a second one, by which they get notices at once and nothing else.
struct Hub::Audience {
  fanout::AudienceId id{};
  Interest* interest{};
  Format format{};
  std::chrono::milliseconds every{0};
  bool notices{};  ///< the second one
  std::size_t members{};
  Place newest{};  ///< of its members': who came last
};

/// All subscriptions to one pattern. In force at the broker from its ticket on.
struct Hub::Interest {
  Pattern pattern;
  std::uint64_t ticket{};
  std::size_t subscriptions{};
  std::vector<std::unique_ptr<Audience>> audiences;
  std::unique_ptr<Values> values;
};

/// The newest known value of one topic.
struct Hub::Value {
  wire::Stamp stamp;
  std::uint64_t round{};  ///< of asking, that brought it, or in which it came
  std::string event;      ///< stamped; empty: there is no value
  ByFormat<Text> lines;   /// made when first wanted
};

/// The retained values of a pattern's topics, for clients that ask for them: asked of the broker once, and
/// kept up to date by what comes live from the moment of asking on, for as long as clients ask.
///
/// Why one answer serves them all, also those who come while it is under way or after it: let n be the newest
/// event of a topic that the hub knows when it serves a client, from the answer or live. Live events come to
/// the hub in the order of their offsets, so all later ones it has yet to see: the client, which is in the
/// audience since before it is served, gets them, from n + 1 on. What it has of n and before is skipped. So
/// no event behind n is missing and none comes twice. And n is no older than the client's question: the
/// broker's answer is as of a moment after it was asked, what passed since is recorded, and it does not
/// matter whether the client asked before or after that.
struct Hub::Values {
  explicit Values(Interest& of) : interest(of) {}
  Interest& interest;
  std::uint64_t request{};  ///< under way; 0: answered
  std::uint64_t round{};    ///< of asking; what an answer lacks that came in an earlier one has ended
  Clock::time_point valid_until = Clock::time_point::max();  ///< then some may end for their ttl
  std::map<std::string, Value, std::less<>> by_topic;
  std::vector<Subscription*> waiting;  ///< for the answer
  std::size_t feeding{};               ///< how many read it in slices
  std::size_t bytes{};
  Clock::time_point made;
  Clock::time_point used;
  // All of it, for who gets it at once; made when first wanted, until something changes.
  ByFormat<Text> texts;
  fanout::SkipPtr skip;
};

/// What comes before a subscription's live events, while it is not yet given.
struct Hub::Join {
  enum class Kind : std::uint8_t { values, replay };
  Kind kind{Kind::values};
  bool buffered{};  ///< its audience's events are kept aside meanwhile
  bool feeding{};   ///< part of it has been given
  // values
  std::string after;                   ///< the last topic that was given
  std::shared_ptr<fanout::Skip> skip;  ///< what was given
  // replay
  std::uint64_t request{};
  std::string text;             ///< of the slice under way
  std::uint64_t next_offset{};  ///< of an exact topic, where it is known
  bool caught_up{};             ///< the last slice was complete
  bool asked_held{};            ///< the slice under way was asked for when events were kept aside already
  fanout::StreamId through_stream{fanout::no_stream};
  std::uint64_t through_position{};
};

/// One pattern of one reader. There may be millions of them: what is seldom there is elsewhere.
struct Hub::Subscription {
  Reader* reader{};
  Interest* interest{};
  std::chrono::milliseconds every{0};       ///< PatternOptions::every
  std::unique_ptr<const ReplayFrom> since;  ///< PatternOptions::since, until that is given
  std::unique_ptr<Join> join;
  Audience* audience{};          ///< none: not in force yet
  std::uint64_t active_since{};  ///< serial of the last event before it entered its audience
  Place place{};                 ///< what lies before it never concerned it
  std::uint32_t unanswered{};    ///< subscribes that wait for their answer
  bool last{};                   ///< PatternOptions::last
  bool in_force{};               ///< events are given as they come

  void set_options(const PatternOptions& options) {
    every = options.every;
    last = options.last;
    since = options.since ? std::make_unique<const ReplayFrom>(*options.since) : nullptr;
  }
};

/// One topic: who wants it, and how far it has come.
struct Hub::Topic {
  TopicDirectory::Name name;
  std::uint32_t index{};       ///< in the hub's topics
  std::uint64_t generation{};  ///< for which `routes` holds; 0: for none
  ByFormat<fanout::RouteId> routes;
  bool wanted{};    ///< by any of them
  bool recorded{};  ///< some Values want its events
  // The stream of its last event, and its number there; others' beside it.
  std::uint64_t stream{};
  fanout::StreamId stream_id{fanout::no_stream};
  fanout::TopicId id{};
  std::uint64_t offset{};
  std::uint64_t serial{};
  std::vector<std::pair<std::uint64_t, fanout::TopicId>> numbers;  ///< by stream
};

struct Hub::TopicsAnswer {
  std::string pattern;
  std::string cursor;
  std::size_t count{};
};

/// A queue that is nearly always empty, and then is one pointer.
template <class Thing>
class Hub::SeldomQueue {
 public:
  [[nodiscard]] bool empty() const noexcept { return things_ == nullptr; }
  [[nodiscard]] std::size_t size() const noexcept { return things_ ? things_->size() : 0; }
  void push_back(Thing thing) {
    if (!things_) things_ = std::make_unique<std::list<Thing>>();
    things_->push_back(std::move(thing));
  }
  // Only where it is not empty.
  [[nodiscard]] Thing& front() noexcept { return things_->front(); }
  void pop_front() {
    things_->pop_front();
    if (things_->empty()) things_.reset();
  }
  void remove(const Thing& thing) {
    if (!things_) return;
    std::erase(*things_, thing);
    if (things_->empty()) things_.reset();
  }
  void clear() noexcept { things_.reset(); }

 private:
  std::unique_ptr<std::list<Thing>> things_;  // none, or at least one
};

/// One client.
struct Hub::Reader {
  fanout::ClientId id{};
  Format format{};
  bool told_to_wait{};
  bool resuming{};
  std::uint32_t feeding{};  ///< joins of which part has been given: until their end the format stands
  /// By pattern, whose text is the interest's. A map, since a hash table has its first buckets for a single
  /// one.
  std::map<std::string_view, Subscription> subscriptions;
  SeldomQueue<Subscription*> paused_replies;  ///< those that go on when there is room
  std::unique_ptr<TopicsAnswer> topics;
  SeldomQueue<Request> deferred;  ///< what waits for `feeding` or `topics` to end
};

template <class Tell>
void Hub::tell(const Reader& reader, Tell tell) {
  outlet_.post(reader.id, [tell = std::move(tell)](fanout::Client& client) {
    tell(static_cast<Subscriber&>(client.handler()));
  });
}

template <class Found>
void Hub::each_interest(std::string_view topic, Found found) {
  // A pattern without wildcards is the topic that it means.
  if (const auto exact = interests_.find(topic); exact != interests_.end()) found(*exact->second);
  wildcards_.match(topic, [&](Interest* interest) { found(*interest); });
}

}  // namespace backplane::gateway
