#pragma once
// Which client gets which event.

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/topic/pattern.hpp"
#include "core/topic/string_hash.hpp"
#include "follower/broker_reader.hpp"
#include "gateway/encode/encoder.hpp"
#include "gateway/hub/outlet.hpp"
#include "gateway/hub/pattern_trie.hpp"
#include "gateway/hub/route_table.hpp"
#include "gateway/session/notice.hpp"
#include "gateway/session/requests.hpp"
#include "gateway/session/topic_directory.hpp"
#include "gateway/upstream/upstream_subscriptions.hpp"

namespace backplane::gateway {

struct HubLimits {
  std::size_t subscriptions_per_client_max = 100'000;
  /// Above so many distinct prefixes the broker is asked for everything.
  std::size_t prefixes_max = 10'000;
  /// Memory for the retained values that clients wait for, of all patterns together.
  std::size_t values_bytes_max = 64u << 20;
  /// A piece of a long answer; the next one is made when the client has read most of it.
  std::size_t slice_bytes = 128u << 10;
  /// How long the first connection to a broker may take before anybody is told to wait.
  std::chrono::milliseconds first_wait{1000};
  /// How long values that were asked for serve others who ask: since the last of them, and in all.
  std::chrono::milliseconds values_idle{5'000};
  std::chrono::milliseconds values_age_max{60'000};
};

struct HubCounters {
  std::uint64_t events{};         ///< from the broker
  std::uint64_t unmatched{};      ///< of these, wanted by nobody: a prefix says more than a pattern
  std::uint64_t undecodable{};    ///< of these, told as gaps
  std::uint64_t encoded{};        ///< lines made of these: one a format that somebody wants
  std::uint64_t notices{};        ///< gaps and resets told
  std::uint64_t replayed{};       ///< events of history given to clients
  std::uint64_t values{};         ///< retained values given to clients
  std::uint64_t refused{};        ///< subscribes that were refused
  std::uint64_t clients{};        ///< now
  std::uint64_t subscriptions{};  ///< now
  std::uint64_t topics{};         ///< now
};

/// The clients of one backplane, their subscriptions, and what comes for them. Lives on one thread; owns the
/// subscriptions, and the engine's numbers for audiences, routes and topics. Encodes each event once a format
/// and hands it to the engine with a route; who gets it the engine knows.
///
/// A subscription is membership of an audience: all who want the same pattern in the same format at the same
/// interval. A topic's route is the set of audiences that match it, kept with the topic: a new audience of an
/// exact pattern changes that one topic's entry, one of a pattern with wildcards all of them, each when its
/// next event comes.
class Hub final : public ReaderListener {
 public:
  using Clock = std::chrono::steady_clock;

  /// `outlet` and `directory` outlive the hub.
  Hub(HubLimits limits, Outlet& outlet, TopicDirectory& directory, Clock::time_point now);
  ~Hub() override;

  /// To be called once, before all else: who reads for the hub, and reports to it. Outlives the hub's use.
  void attach(BrokerReader& broker) noexcept {
    broker_ = &broker;
    upstream_.attach(broker);
  }

  /// A client of the engine, whose handler is a Subscriber.
  void add(fanout::ClientId client, Format format);
  /// It is over: nothing more is asked of the engine for it.
  void remove(fanout::ClientId client);
  /// Any but a Publish. A client that has gone is passed over.
  void handle(Request request, Clock::time_point now);
  /// Subscribes for a client that did not ask and gets no answer.
  void feed(fanout::ClientId client, const Pattern& pattern, const PatternOptions& options,
            Clock::time_point now);

  void on_event(const Delivery& delivery) override;
  void on_live(std::uint64_t ticket) override;
  void on_connection(bool up) override;
  void on_retained(std::uint64_t request, const Delivery& delivery) override;
  void on_retained_end(std::uint64_t request, const RetainedEnd& end) override;
  void on_replayed(std::uint64_t request, const Delivery& delivery) override;
  void on_replay_slice(std::uint64_t request, const ReplaySlice& slice) override;
  void on_gap(const Gap& gap) override;
  void on_reset(const Reset& reset) override;

  /// After each turn of the follower, and at next_deadline().
  void tick(Clock::time_point now);
  [[nodiscard]] Clock::time_point next_deadline() const;

  [[nodiscard]] HubCounters counters() const noexcept;
  [[nodiscard]] std::vector<fanout::ClientId> clients() const;
  /// What the types of payloads are to be given to.
  [[nodiscard]] PayloadJson& payloads() noexcept { return encoder_.payloads(); }
  [[nodiscard]] const UpstreamSubscriptions& upstream() const noexcept { return upstream_; }

 private:
  struct Audience;
  struct Interest;
  /// A position of a stream.
  struct Place {
    std::uint64_t position{};
    fanout::StreamId stream{fanout::no_stream};
    [[nodiscard]] bool behind(const Place& other) const noexcept {
      return stream == other.stream && position >= other.position;
    }
    void advance(const Place& to) noexcept {
      if (!behind(to)) *this = to;
    }
  };
  struct Join;
  struct Reader;
  template <class Thing>
  class SeldomQueue;
  struct Subscription;
  struct Topic;
  struct TopicsAnswer;
  struct Value;
  struct Values;

  template <class T>
  using ByName = std::unordered_map<std::string, T, StringHash, std::equal_to<>>;
  using Text = std::shared_ptr<const std::string>;
  template <class T>
  using ByFormat = std::array<T, format_count>;

  // Clients and their subscriptions: hub.cpp.
  [[nodiscard]] Reader* find(fanout::ClientId client);
  template <class Tell>
  void tell(const Reader& reader, Tell tell);
  void give(const Reader& reader, Text text, bool notify_drained);
  void execute(Reader& reader, request::Subscribe& request, Clock::time_point now);
  void execute(Reader& reader, request::Unsubscribe& request, Clock::time_point now);
  void execute(Reader& reader, request::SetFormat& request, Clock::time_point now);
  void execute(Reader& reader, request::Echo& request, Clock::time_point now);
  void execute(Reader& reader, request::ReportPosition& request, Clock::time_point now);
  void execute(Reader& reader, request::Topics& request, Clock::time_point now);
  void execute(Reader& reader, request::Drained& request, Clock::time_point now);
  void execute(Reader& reader, request::JoinBufferFull& request, Clock::time_point now);
  void execute(Reader& reader, request::Quit& request, Clock::time_point now);
  void execute(Reader& reader, request::Publish& request, Clock::time_point now);
  bool subscribe(Reader& reader, const Pattern& pattern, const PatternOptions& options, bool answered);
  void drop(Subscription& subscription);
  void answer(Subscription& subscription);
  void refuse(Subscription& subscription, std::string_view code, std::string text);
  void tell_waiting(Reader& reader, Clock::time_point now);
  void proven();
  void begin(Subscription& subscription);
  void resume_deferred(Reader& reader);
  void ask_topics(fanout::ClientId client, const std::string& cursor);
  void give_topics(fanout::ClientId client, Result<TopicsPage> page);

  // Audiences and routes: hub_routes.cpp.
  Interest& interest_in(const Pattern& pattern);
  void let_go(Interest& interest);
  Audience& audience_of(Interest& interest, Format format, std::chrono::milliseconds every, bool notices);
  void enter(Subscription& subscription, bool buffered);
  /// @param gone the engine knows already
  void withdraw(Subscription& subscription, bool gone);
  void leave(Reader& reader, Audience& audience, bool gone);
  void changed(const Interest& interest);
  template <class Found>
  void each_interest(std::string_view topic, Found found);
  void find_routes(Topic& topic);
  Topic& topic_of(const Delivery& delivery);
  Topic& topic_of(std::string_view name);
  Topic& add_topic(std::string_view name);
  void forget_topics();
  fanout::StreamId stream_id(std::uint64_t stream);
  void forget_stream(std::uint64_t stream);
  /// The engine's number for a topic in a stream.
  fanout::TopicId number(Topic& topic, std::uint64_t stream);

  // What came for them: hub_events.cpp.
  /// @param position of what is lost in the notice's stream: whoever began behind it is not told
  void announce(const Notice& notice, std::uint64_t position);
  void announce_one_by_one(const Notice& notice, const Place& place);
  void set_place(Subscription& subscription, const Place& place);
  void advance_low_watermark(Clock::time_point now);
  void undecodable(const Topic& topic, const wire::Stamp& stamp);
  [[nodiscard]] static Notice notice_of(const Gap& gap);

  // What comes first, retained values or history: hub_values.cpp, hub_replay.cpp.
  void begin_values(Subscription& subscription);
  void ask_values(Interest& interest);
  void ask_values_again(Interest& interest);
  void end_absent_values(Values& values);
  void store(Values& values, const Delivery& delivery, bool live);
  void record(const Topic& topic, const Delivery& delivery);
  void forget_value(Interest& interest, std::string_view topic);
  /// Those that nobody waits for; of the others the values of a stream that has ended.
  void forget_values(std::optional<std::uint64_t> ended_stream);
  void drop_values(Interest& interest);
  void fail_values(Interest& interest, std::string_view code, const std::string& text);
  void serve(Subscription& subscription);
  void serve_all_at_once(Subscription& subscription);
  bool serve_slice(Subscription& subscription);
  [[nodiscard]] bool comes_anyway(Subscription& subscription, const Topic& topic, const wire::Stamp& stamp);
  const Text& line(Values& values, Value& value, std::string_view topic, Format format);
  void expire_values(Clock::time_point now);
  void begin_replay(Subscription& subscription);
  bool replay_on(Subscription& subscription);
  void end_replay(Subscription& subscription);
  void say_in_replay(Subscription& subscription, const Notice& notice);
  void begin_feeding(Subscription& subscription);
  void end_feeding(Subscription& subscription);
  void end_join(Subscription& subscription);
  void notify_when_drained(Subscription& subscription);

  HubLimits limits_;
  BrokerReader* broker_{};
  Outlet& outlet_;
  TopicDirectory& directory_;
  UpstreamSubscriptions upstream_;
  RouteTable routes_;
  Encoder encoder_;
  HubCounters counters_;

  std::unordered_map<fanout::ClientId, Reader> readers_;
  ByName<std::unique_ptr<Interest>> interests_;                // by pattern
  PatternTrie<Interest*> wildcards_;                           // those of them that have any
  std::set<std::pair<std::uint64_t, Subscription*>> waiting_;  // for a ticket
  std::unordered_map<std::uint64_t, Interest*> values_asked_;  // by the follower's request
  std::unordered_map<std::uint64_t, Subscription*> replays_;   // the same
  std::set<Interest*> values_kept_;
  std::size_t values_bytes_{};
  std::deque<Topic> topics_;
  std::unordered_map<std::string_view, Topic*> topics_by_name_;
  std::uint32_t topics_life_{1};  // how often they have begun anew
  std::uint64_t generation_{1};   // of the patterns with wildcards
  std::uint32_t audiences_{};     // numbers given out so far
  std::vector<fanout::AudienceId> free_audiences_;
  std::vector<std::pair<std::uint64_t, fanout::StreamId>> streams_;
  std::uint16_t last_stream_id_{};
  ByFormat<fanout::RouteId> notice_routes_;  // of the last notice: many come together

  bool connected_{};
  bool announce_live_{};
  bool wait_due_{true};          // readers are yet to be told that there is no broker
  Clock::time_point wait_from_;  // and this is from when on
  Clock::time_point now_;
  std::uint64_t live_ticket_{};
  std::uint64_t serial_{};  // of the event under way, or the last
  Place place_;             // the highest of the last event's stream
  StreamPosition low_watermark_;
  Clock::time_point low_watermark_due_{};
  std::uint64_t broker_stream_{};  // stream of the broker that was there last
  // Scratch memory.
  ByFormat<std::vector<fanout::AudienceId>> sets_;
  std::string line_;
};

}  // namespace backplane::gateway
