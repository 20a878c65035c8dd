#include "gateway/hub/hub.hpp"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/gateway/stage.hpp"

namespace backplane::gateway {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

/// Clients in format text+offset.
class HubTest : public Stage {
 protected:
  explicit HubTest(HubLimits limits = limits_of_tests(), fanout::ShardOptions shard = {})
      : Stage(limits, shard) {
    a_ = reader();
  }
  static HubLimits limits_of_tests() {
    HubLimits limits;
    limits.subscriptions_per_client_max = 10;
    return limits;
  }
  Peer reader() {
    Peer peer = connect();
    send(peer, "FORMAT text+offset\n");
    EXPECT_EQ(peer.take(), "+OK FORMAT text+offset\n");
    return peer;
  }
  /// Subscribes, and expects the confirmation.
  void subscribe(Peer& peer, const std::string& what) {
    send(peer, "SUB " + what + "\n");
    prove();
    EXPECT_EQ(peer.take(), "+OK SUB " + what.substr(0, what.find(' ')) + "\n");
  }

  Peer a_;
};

TEST_F(HubTest, ConfirmsASubscriptionOnlyWhenItIsActive) {
  come_up();
  send(a_, "SUB clock\n");
  EXPECT_EQ(a_.take(), "");
  publish("clock", "too early");
  prove();
  publish("clock", "tick");
  EXPECT_EQ(a_.take(), "+OK SUB clock\nclock 2 tick\n");
}

TEST_F(HubTest, SubscribesToAPrefixAndFiltersExactly) {
  come_up();
  subscribe(a_, "time");
  subscribe(a_, "stock.*.price");
  EXPECT_THAT(upstream_.prefixes, ElementsAre(Pair("stock.", 1), Pair("time", 1)));
  for (const char* const topic :
       {"timezone", "time.zone", "stock.MSFT", "stock.MSFT.volume", "stock.A.B.price"})
    publish(topic);
  EXPECT_EQ(a_.take(), "");
  publish("time");
  publish("stock.MSFT.price");
  EXPECT_EQ(a_.take(), "time 1 x\nstock.MSFT.price 1 x\n");
  EXPECT_EQ(hub_.counters().unmatched, 5u);
}

TEST_F(HubTest, SendsAnEventOnceEvenIfSeveralSubscriptionsMatch) {
  come_up();
  for (const char* const pattern : {"stock.>", "stock.*", "stock.MSFT", ">"}) subscribe(a_, pattern);
  publish("stock.MSFT");
  EXPECT_EQ(a_.take(), "stock.MSFT 1 x\n");
}

TEST_F(HubTest, EncodesAnEventOncePerFormatForAnyNumberOfClients) {
  come_up();
  Peer b = reader();
  Peer c = connect();
  subscribe(a_, "a");
  subscribe(b, ">");
  subscribe(c, "a");
  const std::uint64_t before = outlet_.appended;
  publish("a");
  EXPECT_EQ(outlet_.appended - before, 2u);
  EXPECT_EQ(a_.take() + b.take() + c.take(), "a 1 x\na 1 x\na x\n");
}

TEST_F(HubTest, TopicsOfTheSameAudiencesShareARoute) {
  come_up();
  subscribe(a_, "a.>");
  const std::uint64_t before = outlet_.routes_set;
  for (int i = 0; i < 100; ++i) publish("a." + std::to_string(i));
  EXPECT_EQ(outlet_.routes_set - before, 1u);
}

TEST_F(HubTest, SubscribesAtTheBrokerOnceForOnePatternOfManyClients) {
  come_up();
  Peer b = reader();
  subscribe(a_, "clock");
  subscribe(b, "clock");
  EXPECT_EQ(upstream_.tickets, 1u);
  send(b, "QUIT\n");
  end_input(b);
  EXPECT_EQ(hub_.counters().clients, 1u);
  EXPECT_EQ(upstream_.prefixes.size(), 1u);
  send(a_, "UNSUB clock\n");
  EXPECT_THAT(upstream_.prefixes, IsEmpty());
}

TEST_F(HubTest, ConfirmsAtOnceIfThePatternIsActiveAlready) {
  come_up();
  subscribe(a_, "clock");
  send(a_, "SUB clock\n");
  EXPECT_EQ(a_.take(), "+OK SUB clock\n");
  Peer b = reader();
  send(b, "SUB clock\n");
  EXPECT_EQ(b.take(), "+OK SUB clock\n");
}

TEST_F(HubTest, RepliesToEverySubscribeExactlyOnce) {
  come_up();
  send(a_, "SUB a\nSUB a\nSUB b\nUNSUB a\nPING\nQUIT\n");
  EXPECT_EQ(a_.take(),
            "-ERR cancelled a: UNSUB arrived before the subscription was active\n"
            "-ERR cancelled a: UNSUB arrived before the subscription was active\n"
            "+OK UNSUB a\n+PONG\n"
            "-ERR cancelled b: QUIT arrived before the subscription was active\n+OK QUIT\n");
  prove();
  publish("a");
  EXPECT_EQ(a_.take(), "");
}

TEST_F(HubTest, RefusesSubscriptionsAboveTheLimit) {
  come_up();
  for (int i = 0; i < 10; ++i) subscribe(a_, "a" + std::to_string(i));
  send(a_, "SUB b\nSUB a3\n");
  EXPECT_EQ(a_.take(), "-ERR too_many_subscriptions b: limit of 10 subscriptions reached\n+OK SUB a3\n");
  EXPECT_EQ(hub_.counters().refused, 1u);
}

class HubFloodTest : public HubTest {
 protected:
  explicit HubFloodTest(HubLimits limits = {}) : HubTest(limits) {}
};

class HubOfFewTest : public HubFloodTest {
 protected:
  HubOfFewTest() : HubFloodTest(few()) {}
  static HubLimits few() {
    HubLimits limits;
    limits.subscriptions_max = 3;
    return limits;
  }
};

TEST_F(HubOfFewTest, AllClientsTogetherHaveALimitOfSubscriptions) {
  come_up();
  Peer b = reader();
  subscribe(a_, "a1");
  subscribe(a_, "a2");
  subscribe(b, "b1");
  send(b, "SUB b2\nSUB b1\n");
  prove();
  EXPECT_EQ(b.take(),
            "-ERR too_many_subscriptions b2: limit of 3 subscriptions of all clients reached\n+OK SUB b1\n");
  send(a_, "UNSUB a1\n");
  send(b, "SUB b2\n");
  prove();
  EXPECT_EQ(b.take(), "+OK SUB b2\n");
}

TEST_F(HubFloodTest, AClientWithManySubscriptionsThatWaitIsNotReadFurther) {
  constexpr std::size_t count = 50'000;
  std::string flood;
  for (std::size_t i = 0; i < count; ++i) flood += "SUB flood." + std::to_string(i) + "\n";
  send(a_, flood);
  EXPECT_LT(hub_.counters().subscriptions, count / 5);
  EXPECT_GT(a_.stream->input.size(), flood.size() / 2);
  come_up();
  for (std::size_t round = 0; hub_.counters().subscriptions < count && round < 100; ++round) prove();
  prove();
  EXPECT_EQ(hub_.counters().subscriptions, count);
  EXPECT_TRUE(a_.take().ends_with("+OK SUB flood.49999\n"));
}

TEST_F(HubTest, ClientsThatComeAndGoLeaveNoStateBehind) {
  come_up();
  for (int i = 0; i < 100; ++i) {
    Peer b = reader();
    send(b, "SUB a" + std::to_string(i % 7) + "\nSUB b.*.> every=1s\nSUB c last\n");
    prove();
    publish("b.c.d");
    end_input(b);
    send(b, "");
    b.stream->error = EPIPE;
    publish("b.c.d");
    shard_.find(b.id)->abort();
    turn();
  }
  EXPECT_EQ(hub_.counters().subscriptions, 0u);
  EXPECT_EQ(hub_.counters().clients, 1u);
  EXPECT_THAT(upstream_.prefixes, IsEmpty());
}

TEST_F(HubTest, NotifiesClientsOnceThatTheBrokerIsGoneAndOnceThatItIsBack) {
  come_up();
  subscribe(a_, "clock");
  hub_.on_connection(false);
  turn();
  turn();
  send(a_, "SUB other\n");
  EXPECT_EQ(a_.take(), "!WAIT broker\n");
  come_up();
  EXPECT_EQ(a_.take(), "+OK SUB other\n!LIVE broker\n");
  publish("clock");
  EXPECT_EQ(a_.take(), "clock 1 x\n");
  hub_.on_connection(false);
  turn();
  EXPECT_EQ(a_.take(), "!WAIT broker\n");
}

TEST_F(HubTest, WaitsForTheFirstConnectionBeforeItNotifiesClients) {
  send(a_, "SUB clock\n");
  EXPECT_EQ(a_.take(), "");
  EXPECT_EQ(hub_.next_deadline(), now_ + 1s);
  now_ += 1s;
  turn();
  EXPECT_EQ(a_.take(), "!WAIT broker\n");
  EXPECT_EQ(hub_.next_deadline(), Hub::Clock::time_point::max());
  come_up();
  EXPECT_EQ(a_.take(), "+OK SUB clock\n!LIVE broker\n");
}

TEST_F(HubTest, AnnouncesAGapOfTheFollowerOncePerClient) {
  come_up();
  subscribe(a_, "a");
  subscribe(a_, ">");
  Peer other = reader();
  subscribe(other, "b");
  publish("a");
  broker_.lose("a");
  broker_.lose("a");
  hub_.on_gap({broker_.stream(), "a", 2, 3, GapReason::history_gone});
  publish("a");
  EXPECT_EQ(a_.take(), "a 1 x\n!GAP a 2 3 history_gone\na 4 x\n");
  EXPECT_EQ(other.take(), "");
}

TEST_F(HubTest, AGapThatASlowClientLosesIsInItsLossReport) {
  come_up();
  subscribe(a_, "a");
  a_.stream->room = 0;
  const std::string text(1u << 20, 'x');
  for (int i = 0; i < 2; ++i) publish("a", text);
  broker_.lose("a");
  hub_.on_gap({broker_.stream(), "a", 3, 3, GapReason::history_gone});
  for (int i = 0; i < 10; ++i) publish("a", text);
  read_all(a_);
  const std::string all = a_.take();
  EXPECT_THAT(all.substr(0, all.find('x')),
              ::testing::AllOf(::testing::HasSubstr("!GAP a 3 3 history_gone\n"),
                               ::testing::HasSubstr("slow_consumer\n")))
      << "both, before the first event";
}

TEST_F(HubTest, AnnouncesAResetOfEachTopicWithASubscriber) {
  come_up();
  subscribe(a_, ">");
  publish("a");
  publish("b");
  a_.take();
  hub_.on_reset({broker_.stream(), 0x1'00000002});
  turn();
  const std::string resets = a_.take();
  EXPECT_THAT(resets, ::testing::AnyOf("!RESET a\n!RESET b\n", "!RESET b\n!RESET a\n"));
  broker_ = NumberedEvents(0x1'00000002);
  publish("a");
  EXPECT_EQ(a_.take(), "a 1 x\n");
}

TEST_F(HubTest, ALateGapIsAnnouncedToClientsThatWereSubscribedAtItsPosition) {
  come_up();
  subscribe(a_, "a");
  publish("a");
  const std::uint64_t lost = broker_.lose("a");
  const std::uint64_t at = broker_.position();
  publish("other");
  Peer wide = connect();
  send(wide, "SUB *\n");  // it gets nothing that the broker published before
  prove();
  publish("b");
  Peer late = connect();
  send(late, "SUB a\nSUB >\n");
  prove();
  for (Peer* const peer : {&a_, &wide, &late}) peer->take();
  hub_.on_gap({broker_.stream(), "a", lost, lost, GapReason::history_gone, at});
  turn();
  EXPECT_EQ(a_.take(), "!GAP a 2 2 history_gone\n");
  EXPECT_EQ(late.take(), "") << "it began after the loss";
  EXPECT_EQ(wide.take(), "");
  hub_.on_gap({broker_.stream(), "a", 3, 3, GapReason::history_gone, broker_.position() + 1});
  turn();
  for (Peer* const peer : {&a_, &wide, &late}) EXPECT_EQ(peer->take(), "!GAP a 3 3 history_gone\n");
}

TEST_F(HubTest, AnotherBrokersStreamIsNotAResetButANewIncarnationIs) {
  upstream_.live_position_now = {broker_.stream(), 0};
  come_up();
  subscribe(a_, "a");
  publish("a");
  a_.take();
  NumberedEvents first = std::exchange(broker_, NumberedEvents(0x2'00000001));
  publish("a");
  EXPECT_EQ(a_.take(), "a 1 x\n");
  deliver(first.publish("a", "x"));
  EXPECT_EQ(a_.take(), "a 2 x\n") << "each stream has offsets of its own";
  hub_.on_reset({0x1'00000001, 0x1'00000002});
  turn();
  EXPECT_EQ(a_.take(), "!RESET a\n");
}

TEST_F(HubTest, AnEventThatCannotBeDecodedIsAGap) {
  come_up();
  subscribe(a_, "a");
  auto event = broker_.publish("a", "x");
  event.bytes[1] = '\x70';
  deliver(event);
  publish("a");
  EXPECT_EQ(a_.take(), "!GAP a 1 1 undecodable\na 2 x\n");
  EXPECT_EQ(hub_.counters().undecodable, 1u);
}

TEST_F(HubTest, AChangeOfFormatIsConfirmedBetweenTheOldAndTheNewFormat) {
  come_up();
  subscribe(a_, "a");
  publish("a", "one");
  send(a_, "FORMAT text\nPING\n");
  publish("a", "two");
  EXPECT_EQ(a_.take(), "a 1 one\n+OK FORMAT text\n+PONG\na two\n");
}

TEST_F(HubTest, WithAnIntervalTheFirstEventIsSentAtOnceThenTheLatest) {
  come_up();
  subscribe(a_, "a every=5s");
  for (const char* const text : {"one", "two", "three"}) publish("a", text);
  EXPECT_EQ(a_.take(), "a 1 one\n");
  now_ += 5s + 20ms;
  turn();
  EXPECT_EQ(a_.take(), "a 3 three\n");
  now_ += 20s;
  turn();
  EXPECT_EQ(a_.take(), "");
  // Notices ignore the interval.
  hub_.on_gap({broker_.stream(), "a", 4, 4, GapReason::history_gone});
  turn();
  EXPECT_EQ(a_.take(), "!GAP a 4 4 history_gone\n");
}

TEST_F(HubTest, SubscribingAgainReplacesTheInterval) {
  come_up();
  subscribe(a_, "a every=5s");
  publish("a", "one");
  publish("a", "two");
  send(a_, "SUB a\n");
  publish("a", "three");
  publish("a", "four");
  EXPECT_EQ(a_.take(), "a 1 one\n+OK SUB a\na 3 three\na 4 four\n");
  send(a_, "SUB a every=1s\n");
  publish("a", "five");
  publish("a", "six");
  EXPECT_EQ(a_.take(), "+OK SUB a\na 5 five\n");
}

TEST_F(HubTest, ListsTopicsInSlicesInTheOrderOfCommands) {
  come_up();
  send(a_, "TOPICS a.>\nPING\n");
  EXPECT_THAT(upstream_.topics_asked, ElementsAre("a.>@"));
  TopicsPage page;
  page.topics.push_back({.name = "a.b", .offset = 17, .value_bytes = 3});
  page.cursor = "a.b";
  std::exchange(upstream_.topics_handler, {})(page);
  turn();
  EXPECT_THAT(upstream_.topics_asked, ElementsAre("a.>@", "a.>@a.b"));
  page.topics[0].name = "a.c";
  page.cursor = "";
  std::exchange(upstream_.topics_handler, {})(page);
  turn();
  EXPECT_THAT(a_.take(), ::testing::MatchesRegex("\\+TOPIC a.b 17 3 [0-9.]+\n\\+TOPIC a.c 17 3 [0-9.]+\n"
                                                 "\\+OK TOPICS 2\n\\+PONG\n"));
}

TEST_F(HubTest, WithoutABrokerTopicsAreUnavailable) {
  send(a_, "TOPICS\nPING\n");
  EXPECT_THAT(a_.take(), ::testing::MatchesRegex("-ERR unavailable .+\n\\+PONG\n"));
}

class HubUpstreamSubscriptionsTest : public HubTest {
 protected:
  HubUpstreamSubscriptionsTest() : HubTest(few_prefixes()) {}
  static HubLimits few_prefixes() {
    HubLimits limits;
    limits.prefixes_max = 4;
    return limits;
  }
};

TEST_F(HubUpstreamSubscriptionsTest, SubscribesToEverythingAboveALimitOfPrefixesUntilHalfAreLeft) {
  come_up();
  for (const char* const topic : {"a", "b", "c", "d", "e"}) send(a_, std::string("SUB ") + topic + "\n");
  EXPECT_EQ(upstream_.prefixes.size(), 6u) << "the old ones and everything, until that is active";
  prove();
  EXPECT_THAT(upstream_.prefixes, ElementsAre(Pair("", 1)));
  a_.take();
  send(a_, "SUB f\n");
  EXPECT_EQ(a_.take(), "+OK SUB f\n") << "active already";
  publish("f");
  EXPECT_EQ(a_.take(), "f 1 x\n");
  for (const char* const topic : {"a", "b", "c", "d"}) send(a_, std::string("UNSUB ") + topic + "\n");
  EXPECT_THAT(upstream_.prefixes, ElementsAre(Pair("", 1), Pair("e", 1), Pair("f", 1)));
  prove();
  EXPECT_THAT(upstream_.prefixes, ElementsAre(Pair("e", 1), Pair("f", 1)));
}

}  // namespace
}  // namespace backplane::gateway
