#include "clients/lib/feeds.hpp"

#include <map>
#include <random>
#include <stdexcept>
#include <type_traits>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/clients/fake_broker.hpp"

namespace backplane::testing {
namespace {

using namespace std::chrono_literals;
using client::Feeds;
using client::ItemQueue;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr std::uint64_t first_life = 0x0000'0007'0000'0001;
constexpr std::uint64_t second_life = 0x0000'0007'0000'0002;
constexpr std::uint64_t another_broker = 0x0000'0009'0000'0001;

/// A broker's history in a vector, whose answers come when the test says so.
class History final : public client::FeedSource {
 public:
  struct Entry {
    std::string topic;
    std::string event;
    wire::Stamp stamp;
  };
  struct Asked {
    std::string pattern;
    std::optional<ReplayFrom> from;  // none: retained
    std::uint64_t through{};
    bool wanted{true};  // the next slice
  };

  std::uint64_t subscribe(std::string_view prefix) override {
    prefixes.insert(std::string(prefix));
    return ++tickets;
  }
  void unsubscribe(std::string_view prefix) override { prefixes.erase(prefixes.find(std::string(prefix))); }
  std::uint64_t retained(std::string_view pattern) override {
    asked.emplace(++requests, Asked{std::string(pattern), std::nullopt});
    return requests;
  }
  std::uint64_t replay(std::string_view pattern, const ReplayFrom& from) override {
    std::uint64_t after = 0;
    if (const auto* positions = std::get_if<AfterPositions>(&from))
      after = positions->positions.front().position;
    asked.emplace(++requests, Asked{std::string(pattern), from, after});
    return requests;
  }
  void replay_more(std::uint64_t request) override { asked.at(request).wanted = true; }
  void cancel(std::uint64_t request) override { asked.erase(request); }
  [[nodiscard]] StreamPosition home() const override {
    return live_home.value_or(StreamPosition{stream, position});
  }
  [[nodiscard]] std::size_t broker() const override { return 0; }

  /// What a broker does with an event; the test decides whether it reaches the feeds.
  const Entry& publish(const std::string& topic) {
    auto& [offset, previous] = tails[topic];
    const wire::Stamp stamp{stream, ++position, ++offset, previous, 1};
    previous = position;
    history.push_back({topic, stamped_event(fmt::format("{}", stamp.offset), stamp), stamp});
    return history.back();
  }

  std::uint64_t stream = first_life;
  std::optional<StreamPosition> live_home;  // of a proof that came later than it was made
  std::uint64_t position{};
  std::map<std::string, std::pair<std::uint64_t, std::uint64_t>> tails;
  std::deque<Entry> history;
  std::multiset<std::string> prefixes;
  std::map<std::uint64_t, Asked> asked;
  std::uint64_t tickets{};
  std::uint64_t requests{};
};

class FeedsOfAClient : public ::testing::Test {
 protected:
  FeedsOfAClient() { make(1 << 20); }
  void make(std::size_t join_bytes_max) {
    queue = {};
    feeds.emplace(queue, join_bytes_max);
    feeds->attach(source);
    now = Feeds::Clock::time_point{} + 1h;
    feeds->tick(now);
  }

  Client::Subscription subscribe(const std::string& pattern, const SubscribeOptions& options = {}) {
    return feeds->subscribe({pattern}, options);
  }
  void live() { feeds->on_live(source.tickets); }
  void arrive(const History::Entry& entry) {
    feeds->on_event(Delivery{entry.topic, std::as_bytes(std::span(entry.event)), entry.stamp});
  }
  void publish(const std::string& topic) { arrive(source.publish(topic)); }

  /// Answers a question for history with so many events. @returns whether that completes it.
  bool answer(std::uint64_t request, std::size_t events_max = 1000) {
    History::Asked& asked = source.asked.at(request);
    asked.wanted = false;
    const auto pattern = Pattern::parse(asked.pattern);
    if (!asked.from) {
      std::map<std::string, const History::Entry*> values;
      for (const auto& entry : source.history) {
        if (pattern->matches(entry.topic)) values[entry.topic] = &entry;
      }
      const RetainedEnd end{source.stream, source.position, {}};
      source.asked.erase(request);
      for (const auto& [topic, entry] : values) feeds->on_retained(request, delivery(*entry));
      feeds->on_retained_end(request, end);
      return true;
    }
    ReplaySlice slice;
    slice.complete = true;
    slice.through_stream = source.stream;
    slice.through_position = source.position;
    std::size_t given = 0;
    for (std::size_t i = 0; i < source.history.size(); ++i) {
      const auto entry = source.history[i];
      if (entry.stamp.position <= asked.through || !pattern->matches(entry.topic)) continue;
      if (given++ == events_max) {
        slice.complete = false;
        slice.through_position = asked.through;
        break;
      }
      asked.through = entry.stamp.position;
      feeds->on_replayed(request, delivery(entry));
    }
    asked.through = slice.through_position;
    feeds->on_replay_slice(request, slice);
    return slice.complete;
  }
  static Delivery delivery(const History::Entry& entry) {
    return Delivery{entry.topic, std::as_bytes(std::span(entry.event)), entry.stamp};
  }

  /// Takes all that is to be given, a line each.
  std::vector<std::string> take() {
    std::vector<std::string> lines;
    while (const ItemQueue::Record* record = queue.pop()) {
      if (record->feed != nullptr && record->feed->ended) continue;
      feeds->given(*record);
      if (record->notice == ItemQueue::no_notice) {
        lines.push_back(fmt::format("{} {}{}", record->bytes.topic, text_of(record->bytes.event),
                                    record->from_history ? " (history)" : ""));
        continue;
      }
      std::visit([&](const auto& notice) { add(lines, notice); }, queue.notice(*record));
    }
    feeds->tick(now);
    return lines;
  }
  static void add(std::vector<std::string>& lines, const Client::Gap& gap) {
    lines.push_back(fmt::format("gap {} {} {} {}", gap.topic, gap.first, gap.last, name(gap.reason)));
  }
  static void add(std::vector<std::string>& lines, const ItemQueue::Restarted&) {
    lines.emplace_back("reset");
  }
  static void add(std::vector<std::string>& lines, const Client::Subscribed& what) {
    lines.push_back(fmt::format("subscribed {}", static_cast<std::uint64_t>(what.subscription)));
  }
  static void add(std::vector<std::string>& lines, const Client::Refused& what) {
    lines.push_back("refused " + what.text);
  }
  static void add(std::vector<std::string>& lines, const Client::Broker& broker) {
    lines.emplace_back(broker.up ? "up" : "down");
  }
  static void add(std::vector<std::string>&, const ItemQueue::Joined&) {}

  [[nodiscard]] std::string token() const { return resume_token(feeds->places()); }

  History source;
  ItemQueue queue;
  std::optional<Feeds> feeds;
  Feeds::Clock::time_point now;
};

TEST_F(FeedsOfAClient, GiveNothingBeforeTheSubscriptionIsInForce) {
  subscribe("a");
  publish("a");
  EXPECT_THAT(take(), IsEmpty());
  live();
  publish("a");
  EXPECT_THAT(take(), ElementsAre("subscribed 1", "a 2"));
}

TEST_F(FeedsOfAClient, GiveWhatAPatternMeansAndNothingElse) {
  subscribe("a.*");
  subscribe("b");
  live();
  for (const char* topic : {"a", "a.x", "a.x.y", "ab", "b", "bb", "b.c"}) publish(topic);
  EXPECT_THAT(take(), ElementsAre("subscribed 1", "subscribed 2", "a.x 1", "b 1"));
}

TEST_F(FeedsOfAClient, GiveAnEventOncePerSubscriptionHoweverManyOfItsPatternsMatch) {
  feeds->subscribe({"a.>", "a.b", "*.b"}, {});
  subscribe("a.b");
  live();
  publish("a.b");
  EXPECT_THAT(take(), ElementsAre("subscribed 1", "subscribed 2", "a.b 1", "a.b 1"));
}

TEST_F(FeedsOfAClient, GiveNothingOfWhatHasEndedNotEvenWhatWaited) {
  const auto id = subscribe("a");
  live();
  publish("a");
  feeds->unsubscribe(id);
  feeds->unsubscribe(id);
  EXPECT_THAT(take(), IsEmpty());
  EXPECT_THAT(source.prefixes, IsEmpty());
  publish("a");
  EXPECT_THAT(take(), IsEmpty());
}

TEST_F(FeedsOfAClient, RefuseWhatIsNoPatternAndOptionsThatExcludeEachOther) {
  const auto problem = [&](const std::vector<std::string>& patterns, const SubscribeOptions& options = {}) {
    try {
      feeds->subscribe(patterns, options);
    } catch (const std::invalid_argument& error) {
      return std::string(error.what());
    }
    return std::string("taken");
  };
  EXPECT_THAT(problem({}), HasSubstr("wanted a pattern"));
  EXPECT_THAT(problem({"a..b"}), HasSubstr("a token is empty"));
  EXPECT_THAT(problem({"a"}, {.since_token = "nonsense"}), HasSubstr("resume token"));
  EXPECT_THAT(problem({"a"}, {.last = true, .since_time_ns = 1}), HasSubstr("at most one of"));
  EXPECT_THAT(problem({"a"}, {.since_offset = 1, .since_time_ns = 1}), HasSubstr("at most one of"));
  EXPECT_THAT(problem({"a.*"}, {.since_offset = 1}), HasSubstr("one topic"));
  EXPECT_THAT(problem({"a", "b"}, {.since_offset = 1}), HasSubstr("one topic"));
  EXPECT_THAT(problem({"a"}, {.every = -1ms}), HasSubstr("every"));
  EXPECT_THAT(source.prefixes, IsEmpty());
}

// ---- history joins the live events ----

TEST_F(FeedsOfAClient, JoinHistoryAndLiveEventsWithoutHoleOrDuplicate) {
  for (int i = 0; i < 3; ++i) source.publish("a");
  subscribe("a", {.since_token = "0000000700000001:1"});
  live();
  publish("a");
  publish("a");
  ASSERT_TRUE(answer(1));
  publish("a");
  EXPECT_THAT(take(), ElementsAre("subscribed 1", "a 2 (history)", "a 3 (history)", "a 4 (history)",
                                  "a 5 (history)", "a 6"));
  EXPECT_THAT(source.asked, IsEmpty());
}

TEST_F(FeedsOfAClient, GiveLiveEventsThatHistoryDidNotReach) {
  source.publish("a");
  subscribe("a", {.since_time_ns = 0});
  live();
  const History::Entry early = source.publish("a");
  ASSERT_TRUE(answer(1, 1000));
  arrive(early);
  publish("a");
  EXPECT_THAT(take(), ElementsAre("subscribed 1", "a 1 (history)", "a 2 (history)", "a 3"));
}

TEST_F(FeedsOfAClient, AskForTheNextSliceOnlyWhenTheLastOneIsTaken) {
  for (int i = 0; i < 4; ++i) source.publish("a");
  subscribe("a", {.since_offset = 0});
  live();
  EXPECT_FALSE(answer(1, 2));
  feeds->tick(now);
  EXPECT_FALSE(source.asked.at(1).wanted);
  EXPECT_THAT(take(), ElementsAre("subscribed 1", "a 1 (history)", "a 2 (history)"));
  EXPECT_TRUE(source.asked.at(1).wanted);
  EXPECT_TRUE(answer(1, 2));
  EXPECT_THAT(take(), ElementsAre("a 3 (history)", "a 4 (history)"));
}

TEST_F(FeedsOfAClient, ReadFromHistoryWhatTheyCouldNotHold) {
  make(/*join_bytes_max=*/100);
  source.publish("a");
  subscribe("a", {.since_offset = 0});
  live();
  ASSERT_TRUE(answer(1));
  // The answer was made before these came, and there are more than can be held.
  subscribe("b", {.since_offset = 0});
  live();
  for (int i = 0; i < 10; ++i) publish("b");
  source.asked.at(2).wanted = false;
  feeds->on_replay_slice(2, ReplaySlice{true, first_life, 1, {}, {}, {}});
  EXPECT_THAT(take(), ElementsAre("subscribed 1", "a 1 (history)", "subscribed 2"));
  ASSERT_TRUE(source.asked.contains(2));
  EXPECT_TRUE(source.asked.at(2).wanted);
  EXPECT_TRUE(answer(2));
  publish("b");
  EXPECT_THAT(take(), ElementsAre("b 1 (history)", "b 2 (history)", "b 3 (history)", "b 4 (history)",
                                  "b 5 (history)", "b 6 (history)", "b 7 (history)", "b 8 (history)",
                                  "b 9 (history)", "b 10 (history)", "b 11"));
}

TEST_F(FeedsOfAClient, GiveTheLastValuesFirstAndNothingThatIsOlder) {
  for (const char* topic : {"v.1", "v.1", "v.2"}) source.publish(topic);
  subscribe("v.*", {.last = true});
  live();
  const History::Entry early = source.publish("v.1");
  answer(1);
  arrive(early);  // it is the value that was given
  publish("v.2");
  publish("v.3");
  EXPECT_THAT(take(), ElementsAre("subscribed 1", "v.1 3 (history)", "v.2 1 (history)", "v.2 2", "v.3 1"));
}

TEST_F(FeedsOfAClient, GiveLiveEventsThoughHistoryIsRefused) {
  subscribe("a", {.since_time_ns = 0});
  live();
  publish("a");
  ReplaySlice slice;
  slice.error = Error{ErrorCode::timeout, "no answer"};
  feeds->on_replay_slice(1, slice);
  publish("a");
  EXPECT_THAT(take(), ElementsAre("subscribed 1", "refused since: no answer", "a 1", "a 2"));
}

TEST_F(FeedsOfAClient, AnnounceWhatNeitherHistoryNorMemoryHad) {
  make(/*join_bytes_max=*/100);
  subscribe("a", {.since_time_ns = 0});
  live();
  for (int i = 0; i < 10; ++i) publish("a");
  ReplaySlice slice;
  slice.error = Error{ErrorCode::timeout, "no answer"};
  feeds->on_replay_slice(1, slice);
  const auto lines = take();
  ASSERT_GE(lines.size(), 3u);
  EXPECT_EQ(lines[1], "refused since: no answer");
  EXPECT_EQ(lines[2], "gap a 0 0 recovery_timeout");
  EXPECT_EQ(lines.back(), "a 10");
}

TEST_F(FeedsOfAClient, SayWhatHistoryNoLongerHolds) {
  for (int i = 0; i < 5; ++i) source.publish("a");
  subscribe("a", {.since_offset = 1});
  live();
  ReplaySlice slice;
  slice.through_stream = first_life;
  slice.through_position = 3;
  slice.gone = ReplaySlice::Gone{4, 4};
  feeds->on_replay_slice(1, slice);
  EXPECT_THAT(take(), ElementsAre("subscribed 1", "gap a 2 3 history_gone"));
  source.asked.at(1).through = 3;
  EXPECT_TRUE(answer(1));
  EXPECT_THAT(take(), ElementsAre("a 4 (history)", "a 5 (history)"));
}

TEST_F(FeedsOfAClient, CutAGapByWhatCameFromHistory) {
  for (int i = 0; i < 5; ++i) source.publish("a");
  subscribe("a", {.since_offset = 0});
  live();
  answer(1);
  feeds->on_gap(Gap{first_life, "a", 2, 4, GapReason::history_gone});
  feeds->on_gap(Gap{first_life, "a", 4, 8, GapReason::recovery_timeout});
  feeds->on_gap(Gap{first_life, "a", 0, 9, GapReason::recovery_timeout});
  feeds->on_gap(Gap{second_life, "a", 1, 2, GapReason::recovery_timeout});
  feeds->on_gap(Gap{first_life, "b", 1, 2, GapReason::recovery_timeout});
  auto lines = take();
  lines.erase(lines.begin(), lines.begin() + 6);
  EXPECT_THAT(lines, ElementsAre("gap a 6 8 recovery_timeout", "gap a 6 9 recovery_timeout",
                                 "gap a 1 2 recovery_timeout"));
}

// ---- resets ----

TEST_F(FeedsOfAClient, TellAResetOnceHoweverManyNoticeIt) {
  subscribe("a", {.since_token = "0000000700000001:5"});
  subscribe("b", {.since_token = "0000000700000001:5"});
  source.stream = second_life;
  live();
  ReplaySlice slice{true, second_life, 0, {}, Reset{first_life, second_life}, {}};
  feeds->on_replay_slice(1, slice);
  feeds->on_replay_slice(2, slice);
  feeds->on_reset(Reset{first_life, second_life});
  EXPECT_THAT(take(), ElementsAre("subscribed 1", "subscribed 2", "reset"));
}

TEST_F(FeedsOfAClient, TellAResetWhereAnotherBrokerStandsIn) {
  subscribe("a");
  feeds->on_connection(true);
  live();
  feeds->on_connection(false);
  feeds->on_connection(true);
  EXPECT_THAT(take(), ElementsAre("up", "subscribed 1", "down", "up"));
  source.stream = another_broker;
  source.position = 70;
  feeds->on_connection(false);
  feeds->on_connection(true);
  EXPECT_THAT(take(), ElementsAre("down", "reset", "up"));
  EXPECT_EQ(token(), "0000000900000001:70");
}

// ---- where to go on ----

TEST_F(FeedsOfAClient, TheTokenSaysWhatWasGivenNotWhatHasCome) {
  source.position = 10;
  subscribe("a");
  EXPECT_EQ(token(), "");
  live();
  take();
  EXPECT_EQ(token(), "0000000700000001:10");
  publish("a");
  EXPECT_EQ(token(), "0000000700000001:10");
  take();
  EXPECT_EQ(token(), "0000000700000001:11");
}

TEST_F(FeedsOfAClient, TheTokenOfAResumedReadingNeverGoesBeyondWhatItHasGiven) {
  for (int i = 0; i < 6; ++i) source.publish("a");
  subscribe("a", {.since_token = "0000000700000001:2"});
  EXPECT_EQ(token(), "0000000700000001:2");
  live();
  publish("a");
  source.asked.at(1).through = 2;
  EXPECT_FALSE(answer(1, 2));
  take();
  EXPECT_EQ(token(), "0000000700000001:4");
  EXPECT_TRUE(answer(1, 100));
  EXPECT_EQ(token(), "0000000700000001:4");
  take();
  EXPECT_EQ(token(), "0000000700000001:7");
}

TEST_F(FeedsOfAClient, TheTokenOfSeveralSubscriptionsIsThatOfTheOneThatIsBehind) {
  for (int i = 0; i < 4; ++i) source.publish("a");
  subscribe("b");
  subscribe("a", {.since_token = "0000000700000001:1"});
  live();
  publish("b");
  take();
  EXPECT_EQ(token(), "0000000700000001:1");
  EXPECT_TRUE(answer(1));
  take();
  EXPECT_EQ(token(), "0000000700000001:5");
}

TEST_F(FeedsOfAClient, AResetMovesTheTokenToTheNewStream) {
  subscribe("a");
  live();
  publish("a");
  take();
  feeds->on_reset(Reset{first_life, second_life});
  take();
  EXPECT_EQ(token(), "0000000700000002:0");
}

// ---- every ----

TEST_F(FeedsOfAClient, WithEveryTheFirstComesAtOnceThenTheLatestOnceAnInterval) {
  subscribe("a", {.every = 5s});
  live();
  publish("a");
  publish("a");
  publish("a");
  EXPECT_THAT(take(), ElementsAre("subscribed 1", "a 1"));
  EXPECT_EQ(feeds->next_deadline(), now + 5s);
  now += 5s;
  feeds->tick(now);
  EXPECT_THAT(take(), ElementsAre("a 3"));
  EXPECT_EQ(feeds->conflated(), 1u);
  now += 5s;
  feeds->tick(now);
  EXPECT_THAT(take(), IsEmpty());  // nothing new
  EXPECT_EQ(feeds->next_deadline(), Feeds::Clock::time_point::max());
  publish("a");
  EXPECT_THAT(take(), ElementsAre("a 4"));
}

TEST_F(FeedsOfAClient, WithEveryEachTopicHasItsOwnInterval) {
  subscribe("*", {.every = 5s});
  live();
  publish("a");
  now += 2s;
  feeds->tick(now);
  publish("b");
  publish("a");
  publish("b");
  EXPECT_THAT(take(), ElementsAre("subscribed 1", "a 1", "b 1"));
  now += 3s;
  feeds->tick(now);
  EXPECT_THAT(take(), ElementsAre("a 2"));
  now += 2s;
  feeds->tick(now);
  EXPECT_THAT(take(), ElementsAre("b 2"));
}

TEST_F(FeedsOfAClient, WithEveryTheTokenWaitsForWhatIsStillToCome) {
  subscribe("*", {.every = 5s});
  live();
  publish("a");
  publish("a");
  publish("b");
  take();
  EXPECT_EQ(token(), "0000000700000001:1");
  now += 5s;
  feeds->tick(now);
  take();
  EXPECT_EQ(token(), "0000000700000001:3");
}

// ---- against a model ----

/// A broker whose egress and control are each in order, but not with each other.
class FeedsAgainstAModel : public FeedsOfAClient, public ::testing::WithParamInterface<unsigned> {
 protected:
  struct Proof {
    std::uint64_t ticket{};
    std::uint64_t position{};
  };
  struct Reply {
    std::uint64_t request{};
    std::vector<History::Entry> events;
    ReplaySlice slice;
  };
  struct Reader {
    Pattern pattern;
    std::map<std::string, std::uint64_t> next;  // offset, of each topic
  };

  std::size_t pick(std::size_t count) {
    return std::uniform_int_distribution<std::size_t>(0, count - 1)(random);
  }

  void publish_one() { egress.emplace_back(source.publish(topics[pick(topics.size())])); }

  void subscribe_one() {
    const auto pattern = Pattern::parse(patterns[pick(patterns.size())]);
    SubscribeOptions options;
    std::uint64_t after = source.position;  // nothing arrives before the proof
    if (pick(2) == 0) {
      after = pick(source.position + 1);
      options.since_token = resume_token({{first_life, after}});
    }
    const auto id = static_cast<std::uint64_t>(feeds->subscribe({pattern->str()}, options));
    Reader reader{*pattern, {}};
    for (const std::string& topic : topics) reader.next[topic] = 1;
    for (const auto& entry : source.history) {
      if (entry.stamp.position <= after) reader.next[entry.topic] = entry.stamp.offset + 1;
    }
    readers.emplace(id, std::move(reader));
    egress.emplace_back(Proof{source.tickets, source.position});
  }

  void arrive_one() {
    if (egress.empty()) return;
    auto what = std::move(egress.front());
    egress.pop_front();
    if (const auto* entry = std::get_if<History::Entry>(&what)) return arrive(*entry);
    source.live_home = {first_life, std::get<Proof>(what).position};
    feeds->on_live(std::get<Proof>(what).ticket);
  }

  void broker_answers() {
    for (auto& [request, asked] : source.asked) {
      if (!asked.wanted) continue;
      asked.wanted = false;
      Reply reply{request, {}, ReplaySlice{true, first_life, source.position, {}, {}, {}}};
      const auto pattern = Pattern::parse(asked.pattern);
      for (const auto& entry : source.history) {
        if (entry.stamp.position <= asked.through || !pattern->matches(entry.topic)) continue;
        if (reply.events.size() == 4) {
          reply.slice.complete = false;
          reply.slice.through_position = reply.events.back().stamp.position;
          break;
        }
        reply.events.push_back(entry);
      }
      asked.through = reply.slice.through_position;
      control.push_back(std::move(reply));
      return;
    }
  }

  void reply_one() {
    if (control.empty()) return;
    const Reply reply = std::move(control.front());
    control.pop_front();
    for (const auto& entry : reply.events) feeds->on_replayed(reply.request, delivery(entry));
    feeds->on_replay_slice(reply.request, reply.slice);
  }

  void take_some(std::size_t count) {
    for (; count > 0; --count) {
      const ItemQueue::Record* const record = queue.pop();
      if (record == nullptr) break;
      feeds->given(*record);
      if (record->notice != ItemQueue::no_notice) {
        ASSERT_FALSE(std::holds_alternative<Client::Gap>(queue.notice(*record)));
        continue;
      }
      Reader& reader = readers.at(static_cast<std::uint64_t>(record->feed->group->id));
      const std::string topic(record->bytes.topic);
      ASSERT_TRUE(reader.pattern.matches(topic));
      ASSERT_EQ(record->stamp.offset, reader.next[topic]++) << topic;
      check_token(*record);
    }
    feeds->tick(now);
  }

  /// Whoever goes on from the token gets all that this reader has not had yet.
  void check_token(const ItemQueue::Record& record) {
    if (readers.size() > 1) return;
    const auto places = feeds->places();
    ASSERT_EQ(places.size(), 1u);
    EXPECT_EQ(places.front().position, record.stamp.position);
  }

  std::mt19937 random{GetParam()};
  const std::vector<std::string> topics{"a", "b", "c.1", "c.2", "c.2.x"};
  const std::vector<std::string> patterns{"a", "b", "c.*", "c.>", "*", "c.2", ">"};
  std::map<std::uint64_t, Reader> readers;
  std::deque<std::variant<History::Entry, Proof>> egress;
  std::deque<Reply> control;
};

TEST_P(FeedsAgainstAModel, EverySubscriptionHasExactlyWhatCameBehindItsStartInOrder) {
  make(pick(2) == 0 ? 150 : 1 << 20);
  const std::size_t readers_max = 1 + pick(5);
  for (int step = 0; step < 1500; ++step) {
    switch (pick(8)) {
      case 0:
      case 1:
        publish_one();
        break;
      case 2:
      case 3:
        arrive_one();
        break;
      case 4:
        broker_answers();
        break;
      case 5:
        reply_one();
        break;
      case 6:
        take_some(pick(6));
        break;
      default:
        if (readers.size() < readers_max && pick(20) == 0) subscribe_one();
    }
    if (HasFatalFailure()) FAIL() << "at step " << step;
  }
  for (int i = 0; i < 3000; ++i) {
    arrive_one();
    broker_answers();
    reply_one();
    take_some(100);
    if (HasFatalFailure()) FAIL() << "at the end";
  }
  EXPECT_THAT(source.asked, IsEmpty());
  for (const auto& [id, reader] : readers) {
    for (const auto& [topic, next] : reader.next) {
      if (!reader.pattern.matches(topic)) continue;
      EXPECT_EQ(next, source.tails[topic].first + 1) << id << " " << topic;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, FeedsAgainstAModel, ::testing::Range(1u, 60u));

}  // namespace
}  // namespace backplane::testing
