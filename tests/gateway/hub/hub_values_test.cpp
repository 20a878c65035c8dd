#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/gateway/stage.hpp"

namespace backplane::gateway {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class HubValuesTest : public Stage {
 protected:
  explicit HubValuesTest(HubLimits limits = {}) : Stage(limits) {
    come_up();
    a_ = reader();
  }
  Peer reader() {
    Peer peer = connect();
    send(peer, "FORMAT text+offset\n");
    peer.take();
    return peer;
  }
  void subscribe(Peer& peer, const std::string& what) {
    send(peer, "SUB " + what + "\n");
    prove();
  }
  Peer a_;
};

TEST_F(HubValuesTest, RetainedValuesFollowTheReplyAndPrecedeLiveEvents) {
  const auto a = broker_.publish("s.a", "old");
  const auto b = broker_.publish("s.b", "old");
  send(a_, "SUB s.> last\n");
  EXPECT_THAT(upstream_.asked, IsEmpty());
  prove();
  EXPECT_THAT(upstream_.asked, ElementsAre("s.>"));
  publish("s.c", "new");
  retained(1, a);
  retained(1, b);
  EXPECT_EQ(a_.take(), "");
  retained_end(1);
  publish("s.a", "new");
  EXPECT_EQ(a_.take(), "+OK SUB s.>\ns.a 1 old\ns.b 1 old\ns.c 1 new\ns.a 2 new\n");
}

TEST_F(HubValuesTest, AValueIsNotSentAfterItsTtl) {
  const auto a = broker_.publish("s.a", "ends");
  const auto b = broker_.publish("s.b", "stays");
  subscribe(a_, "s.> last");
  retained(1, a);
  retained(1, b);
  hub_.on_retained_end(1, RetainedEnd{{{broker_.stream(), broker_.position()}}, std::nullopt, now_ + 2s});
  turn();
  EXPECT_EQ(a_.take(), "+OK SUB s.>\ns.a 1 ends\ns.b 1 stays\n");
  now_ += 1s;
  Peer soon = reader();
  subscribe(soon, "s.> last");
  EXPECT_EQ(soon.take(), "+OK SUB s.>\ns.a 1 ends\ns.b 1 stays\n");
  EXPECT_EQ(upstream_.asked.size(), 1u) << "one reply for both";
  now_ += 1s;
  Peer later = reader();
  subscribe(later, "s.> last");
  EXPECT_EQ(upstream_.asked.size(), 2u) << "a value may have expired";
  publish("s.c", "live");
  retained(2, b);
  retained_end(2);
  EXPECT_EQ(later.take(), "+OK SUB s.>\ns.b 1 stays\ns.c 1 live\n");
  Peer last = reader();
  subscribe(last, "s.> last");
  EXPECT_EQ(last.take(), "+OK SUB s.>\ns.b 1 stays\ns.c 1 live\n");
  EXPECT_EQ(upstream_.asked.size(), 2u);
}

TEST_F(HubValuesTest, ALiveEventDuringTheRequestIsNewerThanTheReply) {
  const auto old = broker_.publish("a", "old");
  subscribe(a_, "a last");
  publish("a", "newer");
  publish("a", "newest");
  retained(1, old);
  retained_end(1);
  publish("a", "next");
  EXPECT_EQ(a_.take(), "+OK SUB a\na 3 newest\na 4 next\n");
}

TEST_F(HubValuesTest, AnEventSentAsAValueIsNotSentAgainLive) {
  subscribe(a_, "a last");
  const auto first = broker_.publish("a", "first");
  retained(1, first);
  retained_end(1);
  deliver(first);
  publish("a", "second");
  EXPECT_EQ(a_.take(), "+OK SUB a\na 1 first\na 2 second\n");
}

TEST_F(HubValuesTest, ManyClientsCauseOneRequestToTheBroker) {
  std::vector<Peer> peers{a_};
  for (int i = 0; i < 300; ++i) peers.push_back(reader());
  for (std::size_t i = 0; i < 100; ++i) send(peers[i], "SUB a last\n");
  prove();
  const auto first = broker_.publish("a", "first");
  deliver(first);
  // During the request: the broker's reply may be older than live events that have arrived.
  for (std::size_t i = 100; i < 200; ++i) send(peers[i], "SUB a last\n");
  const auto second = broker_.publish("a", "second");
  retained(1, first);
  retained_end(1);
  deliver(second);
  // After the reply: the cache has the live events since then.
  for (std::size_t i = 200; i < peers.size(); ++i) send(peers[i], "SUB a last\n");
  publish("a", "third");
  EXPECT_THAT(upstream_.asked, ElementsAre("a"));
  for (std::size_t i = 0; i < 200; ++i) {
    EXPECT_EQ(peers[i].take(), "+OK SUB a\na 1 first\na 2 second\na 3 third\n") << i;
  }
  for (std::size_t i = 200; i < peers.size(); ++i) {
    EXPECT_EQ(peers[i].take(), "+OK SUB a\na 2 second\na 3 third\n") << i;
  }
}

TEST_F(HubValuesTest, AReplyServesForALimitedTimeOnly) {
  subscribe(a_, "a last");
  retained_end(1);
  now_ += 6s;
  turn();
  Peer b = reader();
  send(b, "SUB a last\n");
  EXPECT_THAT(upstream_.asked, ElementsAre("a", "a"));
}

TEST_F(HubValuesTest, AClearedValueIsNotSent) {
  const auto old = broker_.publish("a", "old");
  subscribe(a_, "a last");
  deliver(broker_.clear("a"));
  retained(1, old);
  retained_end(1);
  publish("a", "new");
  EXPECT_EQ(a_.take(), "+OK SUB a\na 2 \na 3 new\n") << "an event without a value is an event all the same";
  Peer b = reader();
  send(b, "SUB a last\n");
  EXPECT_EQ(b.take(), "+OK SUB a\na 3 new\n");
}

TEST_F(HubValuesTest, AfterALossOfTheNewestEventTheValueIsRequestedAgain) {
  subscribe(a_, "a last");
  retained(1, broker_.publish("a", "one"));
  retained_end(1);
  broker_.lose("a");
  hub_.on_gap({broker_.stream(), "a", 2, 2, GapReason::recovery_timeout});
  Peer b = reader();
  send(b, "SUB a last\n");
  EXPECT_THAT(upstream_.asked, ElementsAre("a", "a"));
}

TEST_F(HubValuesTest, AnotherSubscriptionOfTheClientIsNotDelayedAndSendsNothingTwice) {
  const auto old_a = publish("a", "old");
  const auto old_b = publish("b", "old");
  subscribe(a_, "a");
  subscribe(a_, "> last");
  publish("a", "new");
  EXPECT_EQ(a_.take(), "+OK SUB a\na 2 new\n");
  publish("b", "new");
  retained(1, old_a);
  retained(1, old_b);
  retained_end(1);
  publish("a", "newer");
  publish("b", "newer");
  EXPECT_EQ(a_.take(), "+OK SUB >\nb 2 new\na 3 newer\nb 3 newer\n");
}

TEST_F(HubValuesTest, AValueOlderThanTheGatewayIsSentAlthoughAnotherSubscriptionMatches) {
  const auto old = broker_.publish("a.b", "old");
  upstream_.may_arrive_now = [&](auto, const wire::Stamp& stamp) {
    return stamp.position > old.stamp.position;
  };
  subscribe(a_, "a.>");
  subscribe(a_, "a.b last");
  retained(1, old);
  retained_end(1);
  publish("a.b", "new");
  EXPECT_EQ(a_.take(), "+OK SUB a.>\n+OK SUB a.b\na.b 1 old\na.b 2 new\n");
}

TEST_F(HubValuesTest, AValueOlderThanTheGatewayIsSentToAnActiveSubscriptionThatRequestsIt) {
  const auto old = broker_.publish("a.b", "old");
  const auto coming = broker_.publish("a.c", "coming");
  upstream_.may_arrive_now = [&](auto, const wire::Stamp& stamp) {
    return stamp.position > old.stamp.position;
  };
  subscribe(a_, "a.>");
  send(a_, "SUB a.> last\n");
  retained(1, old);
  retained(1, coming);
  retained_end(1);
  deliver(coming);
  EXPECT_EQ(a_.take(), "+OK SUB a.>\n+OK SUB a.>\na.b 1 old\na.c 1 coming\n");
}

TEST_F(HubValuesTest, AValueThatArrivedWhenNobodyWasSubscribedIsSentAlthoughAnotherSubscriptionMatches) {
  Peer b = reader();
  subscribe(b, "a");  // the gateway gets everything that begins so
  const auto old = publish("a.b", "old");
  upstream_.may_arrive_now = [&](auto, const wire::Stamp& stamp) {
    return stamp.position > old.stamp.position;
  };
  subscribe(a_, "a.>");
  subscribe(a_, "a.b last");
  retained(1, old);
  retained_end(1);
  EXPECT_EQ(a_.take(), "+OK SUB a.>\n+OK SUB a.b\na.b 1 old\n");
}

TEST_F(HubValuesTest, WithoutAReplyTheSubscriptionIsRefused) {
  subscribe(a_, "a last");
  hub_.on_retained_end(1, RetainedEnd{{}, Error{ErrorCode::timeout, "no reply"}});
  turn();
  publish("a");
  EXPECT_EQ(a_.take(), "-ERR unavailable a: retained values: no reply\n");
  EXPECT_THAT(upstream_.prefixes, IsEmpty());
}

TEST_F(HubValuesTest, AFailedSecondRequestForValuesKeepsTheSubscriptionActive) {
  subscribe(a_, "a");
  send(a_, "SUB a last\n");
  publish("a", "live");
  hub_.on_retained_end(1, RetainedEnd{{}, Error{ErrorCode::timeout, "no reply"}});
  turn();
  publish("a", "live");
  EXPECT_EQ(a_.take(), "+OK SUB a\na 1 live\n-ERR unavailable a: retained values: no reply\na 2 live\n");
}

TEST_F(HubValuesTest, ASecondRequestSendsTheValueAgain) {
  subscribe(a_, "a");
  publish("a", "one");
  send(a_, "SUB a last\n");
  const auto two = broker_.publish("a", "two");
  retained(1, two);  // before it arrives live
  retained_end(1);
  deliver(two);
  send(a_, "SUB a last\n");
  EXPECT_EQ(a_.take(), "+OK SUB a\na 1 one\n+OK SUB a\na 2 two\n+OK SUB a\na 2 two\n");
}

TEST_F(HubValuesTest, ALossDuringTheRequestIsAnnounced) {
  subscribe(a_, "a last");
  retained(1, broker_.publish("a", "one"));
  broker_.lose("a");
  hub_.on_gap({broker_.stream(), "a", 2, 2, GapReason::history_gone});
  retained_end(1);
  publish("a", "three");
  EXPECT_EQ(a_.take(), "+OK SUB a\n!GAP a 2 2 history_gone\na 3 three\n");
}

TEST_F(HubValuesTest, AChangeOfFormatDuringTheRequestAppliesToValuesAndEvents) {
  subscribe(a_, "a last");
  retained(1, broker_.publish("a", "one"));
  send(a_, "FORMAT text\n");
  publish("a", "two");
  retained_end(1);
  publish("a", "three");
  EXPECT_EQ(a_.take(), "+OK FORMAT text\n+OK SUB a\na two\na three\n");
}

TEST_F(HubValuesTest, AClientThatLeavesDuringTheRequestDoesNotAffectOthers) {
  subscribe(a_, "a last");
  Peer b = reader();
  send(b, "SUB a last\n");
  publish("a");
  shard_.find(a_.id)->abort();
  turn();
  retained_end(1);
  EXPECT_EQ(b.take(), "+OK SUB a\na 1 x\n");
  EXPECT_EQ(hub_.counters().subscriptions, 1u);
}

class HubManyValuesTest : public HubValuesTest {
 protected:
  HubManyValuesTest() : HubValuesTest(small()) {}
  static HubLimits small() {
    HubLimits limits;
    limits.slice_bytes = 1000;
    limits.values_bytes_max = 1'000'000;
    return limits;
  }
};

TEST_F(HubManyValuesTest, ManyValuesAreSentAsFastAsTheClientReads) {
  send(a_, "SUB s.> last\n");
  prove();
  std::vector<NumberedEvents::Event> values;
  for (int i = 100; i < 200; ++i)
    values.push_back(broker_.publish("s." + std::to_string(i), std::string(2000, 'v')));
  for (const auto& value : values) retained(1, value);
  a_.stream->room = 0;
  retained_end(1);
  turn();
  EXPECT_LT(hub_.counters().values, 30u) << "a slice, not all";
  // A value that changes before it is sent is sent in its new form. A value that changes later arrives live.
  publish("s.100", "changed");
  publish("s.199", "changed");
  send(a_, "FORMAT text\nPING\n");
  read_all(a_);
  const std::string all = a_.take();
  EXPECT_EQ(hub_.counters().values, 100u);
  EXPECT_TRUE(all.starts_with("+OK SUB s.>\ns.100 1 vvv")) << all.substr(0, 100);
  EXPECT_TRUE(all.ends_with("s.199 2 changed\ns.100 2 changed\n+OK FORMAT text\n+PONG\n"))
      << all.substr(all.size() - 300);
  publish("s.199", "again");
  EXPECT_EQ(a_.take(), "s.199 again\n");
}

TEST_F(HubManyValuesTest, ValuesAreBounded) {
  subscribe(a_, "a.> last");
  Peer b = reader();
  subscribe(b, "b.> last");
  for (int i = 0; i < 3; ++i)
    retained(1, broker_.publish("a." + std::to_string(i), std::string(500'000, 'x')));
  retained_end(1);
  EXPECT_THAT(a_.take(), ::testing::StartsWith("-ERR too_many_values a.>: "));
  retained_end(2);
  EXPECT_EQ(b.take(), "+OK SUB b.>\n");
}

}  // namespace
}  // namespace backplane::gateway
