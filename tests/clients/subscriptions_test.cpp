#include <stdexcept>

#include <gmock/gmock.h>

#include "tests/clients/subscriptions_fixture.hpp"

namespace backplane::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST_F(SubscriptionsTest, DeliverNothingBeforeTheSubscriptionIsActive) {
  subscribe("a");
  publish("a");
  EXPECT_THAT(take(), IsEmpty());
  live();
  publish("a");
  EXPECT_THAT(take(), ElementsAre("subscribed 1", "a 2"));
}

TEST_F(SubscriptionsTest, DeliverOnlyMatchingEvents) {
  subscribe("a.*");
  subscribe("b");
  live();
  for (const char* topic : {"a", "a.x", "a.x.y", "ab", "b", "bb", "b.c"}) publish(topic);
  EXPECT_THAT(take(), ElementsAre("subscribed 1", "subscribed 2", "a.x 1", "b 1"));
}

TEST_F(SubscriptionsTest, DeliverAnEventOncePerSubscriptionHoweverManyOfItsPatternsMatch) {
  subscriptions->subscribe({"a.>", "a.b", "*.b"}, {});
  subscribe("a.b");
  live();
  publish("a.b");
  EXPECT_THAT(take(), ElementsAre("subscribed 1", "subscribed 2", "a.b 1", "a.b 1"));
}

TEST_F(SubscriptionsTest, DeliverNothingAfterUnsubscribeNotEvenQueuedEvents) {
  const auto id = subscribe("a");
  live();
  publish("a");
  subscriptions->unsubscribe(id);
  subscriptions->unsubscribe(id);
  EXPECT_THAT(take(), IsEmpty());
  EXPECT_THAT(broker.prefixes, IsEmpty());
  publish("a");
  EXPECT_THAT(take(), IsEmpty());
}

TEST_F(SubscriptionsTest, RefuseInvalidPatternsAndOptionsThatExcludeEachOther) {
  const auto problem = [&](const std::vector<std::string>& patterns, const SubscribeOptions& options = {}) {
    try {
      subscriptions->subscribe(patterns, options);
    } catch (const std::invalid_argument& error) {
      return std::string(error.what());
    }
    return std::string("taken");
  };
  EXPECT_THAT(problem({}), HasSubstr("expected at least one pattern"));
  EXPECT_THAT(problem({"a..b"}), HasSubstr("a token is empty"));
  EXPECT_THAT(problem({"a"}, {.since_token = "nonsense"}), HasSubstr("resume token"));
  EXPECT_THAT(problem({"a"}, {.last = true, .since_time_ns = 1}), HasSubstr("at most one of"));
  EXPECT_THAT(problem({"a"}, {.since_offset = 1, .since_time_ns = 1}), HasSubstr("at most one of"));
  EXPECT_THAT(problem({"a.*"}, {.since_offset = 1}), HasSubstr("one pattern without wildcards"));
  EXPECT_THAT(problem({"a", "b"}, {.since_offset = 1}), HasSubstr("one pattern without wildcards"));
  EXPECT_THAT(problem({"a"}, {.every = -1ms}), HasSubstr("every"));
  EXPECT_THAT(broker.prefixes, IsEmpty());
}

// ---- history joins live events ----

TEST_F(SubscriptionsTest, JoinHistoryAndLiveEventsWithoutHoleOrDuplicate) {
  for (int i = 0; i < 3; ++i) broker.publish("a");
  subscribe("a", {.since_token = "0000000700000001:1"});
  live();
  publish("a");
  publish("a");
  ASSERT_TRUE(reply(1));
  publish("a");
  EXPECT_THAT(take(), ElementsAre("subscribed 1", "a 2 (history)", "a 3 (history)", "a 4 (history)",
                                  "a 5 (history)", "a 6"));
  EXPECT_THAT(broker.requests, IsEmpty());
}

TEST_F(SubscriptionsTest, DeliverLiveEventsAfterTheEndOfHistory) {
  broker.publish("a");
  subscribe("a", {.since_time_ns = 0});
  live();
  const FakeReader::Entry early = broker.publish("a");
  ASSERT_TRUE(reply(1, 1000));
  arrive(early);
  publish("a");
  EXPECT_THAT(take(), ElementsAre("subscribed 1", "a 1 (history)", "a 2 (history)", "a 3"));
}

TEST_F(SubscriptionsTest, RequestTheNextSliceOnlyWhenTheLastOneHasBeenTaken) {
  for (int i = 0; i < 4; ++i) broker.publish("a");
  subscribe("a", {.since_offset = 0});
  live();
  EXPECT_FALSE(reply(1, 2));
  subscriptions->tick(now);
  EXPECT_FALSE(broker.requests.at(1).slice_due);
  EXPECT_THAT(take(), ElementsAre("subscribed 1", "a 1 (history)", "a 2 (history)"));
  EXPECT_TRUE(broker.requests.at(1).slice_due);
  EXPECT_TRUE(reply(1, 2));
  EXPECT_THAT(take(), ElementsAre("a 3 (history)", "a 4 (history)"));
}

TEST_F(SubscriptionsTest, ReadEventsThatDoNotFitIntoTheJoinBufferFromHistory) {
  make(/*join_bytes_max=*/100);
  broker.publish("a");
  subscribe("a", {.since_offset = 0});
  live();
  ASSERT_TRUE(reply(1));
  // The reply was made before these events, which do not fit into the join buffer.
  subscribe("b", {.since_offset = 0});
  live();
  for (int i = 0; i < 10; ++i) publish("b");
  broker.requests.at(2).slice_due = false;
  subscriptions->on_replay_slice(2, ReplaySlice{true, {{first_incarnation, 1}}, {}, {}, {}});
  EXPECT_THAT(take(), ElementsAre("subscribed 1", "a 1 (history)", "subscribed 2"));
  ASSERT_TRUE(broker.requests.contains(2));
  EXPECT_TRUE(broker.requests.at(2).slice_due);
  EXPECT_TRUE(reply(2));
  publish("b");
  EXPECT_THAT(take(), ElementsAre("b 1 (history)", "b 2 (history)", "b 3 (history)", "b 4 (history)",
                                  "b 5 (history)", "b 6 (history)", "b 7 (history)", "b 8 (history)",
                                  "b 9 (history)", "b 10 (history)", "b 11"));
}

TEST_F(SubscriptionsTest, DeliverTheLastValuesFirstAndNothingOlder) {
  for (const char* topic : {"v.1", "v.1", "v.2"}) broker.publish(topic);
  subscribe("v.*", {.last = true});
  live();
  const FakeReader::Entry early = broker.publish("v.1");
  reply(1);
  arrive(early);  // it is the last value that was delivered
  publish("v.2");
  publish("v.3");
  EXPECT_THAT(take(), ElementsAre("subscribed 1", "v.1 3 (history)", "v.2 1 (history)", "v.2 2", "v.3 1"));
}

TEST_F(SubscriptionsTest, DeliverLiveEventsEvenIfHistoryIsRefused) {
  subscribe("a", {.since_time_ns = 0});
  live();
  publish("a");
  ReplaySlice slice;
  slice.error = Error{ErrorCode::timeout, "no reply"};
  subscriptions->on_replay_slice(1, slice);
  publish("a");
  EXPECT_THAT(take(), ElementsAre("subscribed 1", "refused since: no reply", "a 1", "a 2"));
}

TEST_F(SubscriptionsTest, AnnounceEventsThatNeitherHistoryNorTheJoinBufferHad) {
  make(/*join_bytes_max=*/100);
  subscribe("a", {.since_time_ns = 0});
  live();
  for (int i = 0; i < 10; ++i) publish("a");
  ReplaySlice slice;
  slice.error = Error{ErrorCode::timeout, "no reply"};
  subscriptions->on_replay_slice(1, slice);
  const auto lines = take();
  ASSERT_GE(lines.size(), 3u);
  EXPECT_EQ(lines[1], "refused since: no reply");
  EXPECT_EQ(lines[2], "gap a 0 0 recovery_timeout");
  EXPECT_EQ(lines.back(), "a 10");
}

TEST_F(SubscriptionsTest, AnnounceWhatHistoryNoLongerHolds) {
  for (int i = 0; i < 5; ++i) broker.publish("a");
  subscribe("a", {.since_offset = 1});
  live();
  ReplaySlice slice;
  slice.through = {{first_incarnation, 3}};
  slice.gone = ReplaySlice::Gone{first_incarnation, 4, 4};
  subscriptions->on_replay_slice(1, slice);
  EXPECT_THAT(take(), ElementsAre("subscribed 1", "gap a 2 3 history_gone"));
  broker.requests.at(1).through = 3;
  EXPECT_TRUE(reply(1));
  EXPECT_THAT(take(), ElementsAre("a 4 (history)", "a 5 (history)"));
}

TEST_F(SubscriptionsTest, ShortenAGapByEventsFromHistory) {
  for (int i = 0; i < 5; ++i) broker.publish("a");
  subscribe("a", {.since_offset = 0});
  live();
  reply(1);
  subscriptions->on_gap(Gap{first_incarnation, "a", 2, 4, GapReason::history_gone});
  subscriptions->on_gap(Gap{first_incarnation, "a", 4, 8, GapReason::recovery_timeout});
  subscriptions->on_gap(Gap{first_incarnation, "a", 0, 9, GapReason::recovery_timeout});
  subscriptions->on_gap(Gap{second_incarnation, "a", 1, 2, GapReason::recovery_timeout});
  subscriptions->on_gap(Gap{first_incarnation, "b", 1, 2, GapReason::recovery_timeout});
  auto lines = take();
  lines.erase(lines.begin(), lines.begin() + 6);
  EXPECT_THAT(lines, ElementsAre("gap a 6 8 recovery_timeout", "gap a 6 9 recovery_timeout",
                                 "gap a 1 2 recovery_timeout"));
}

// ---- resets ----

TEST_F(SubscriptionsTest, ReportAResetOnceHoweverManySubscriptionsNoticeIt) {
  subscribe("a", {.since_token = "0000000700000001:5"});
  subscribe("b", {.since_token = "0000000700000001:5"});
  broker.stream = second_incarnation;
  live();
  ReplaySlice slice{true, {{second_incarnation, 0}}, {}, Reset{first_incarnation, second_incarnation}, {}};
  subscriptions->on_replay_slice(1, slice);
  subscriptions->on_replay_slice(2, slice);
  subscriptions->on_reset(Reset{first_incarnation, second_incarnation});
  EXPECT_THAT(take(), ElementsAre("subscribed 1", "subscribed 2", "reset"));
}

TEST_F(SubscriptionsTest, DeliverEventsOfAnotherBrokersStreamWithoutAReset) {
  broker.position = 10;
  subscribe("a");
  live();
  publish("a");
  broker.stream = other_broker_stream;
  broker.position = 0;
  broker.tails.clear();
  publish("a");
  EXPECT_THAT(take(), ElementsAre("subscribed 1", "a 1", "a 1"));
  EXPECT_EQ(token(), "0000000700000001:11,0000000900000001:1");
}

TEST_F(SubscriptionsTest, JoinTheHistoriesOfSeveralStreams) {
  subscribe("a", {.since_time_ns = 1});
  live();
  publish("a");
  ReplaySlice slice;
  slice.complete = true;
  slice.through = {{first_incarnation, 1}, {other_broker_stream, 5}};
  broker.requests.at(1).slice_due = false;
  subscriptions->on_replay_slice(1, slice);
  publish("a");
  // Up to position 5, the other stream's events came from history.
  for (std::uint64_t position = 5; position <= 6; ++position) {
    arrive({"a",
            stamped_event("x", {other_broker_stream, position, position, 0, 1}),
            {other_broker_stream, position, position, 0, 1}});
  }
  EXPECT_THAT(take(), ElementsAre("subscribed 1", "a 2", "a x"));
}

// ---- resume tokens ----

TEST_F(SubscriptionsTest, TheTokenCoversDeliveredEventsNotQueuedOnes) {
  broker.position = 10;
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

TEST_F(SubscriptionsTest, TheTokenStaysBeforeEventsThatAreBeingRecovered) {
  broker.position = 10;
  subscribe("a");
  live();
  const auto& entry = broker.publish("a");
  Delivery delivery{entry.topic, std::as_bytes(std::span(entry.event)), entry.stamp};
  delivery.resume_at = 8;
  subscriptions->on_event(delivery);
  take();
  EXPECT_EQ(token(), "0000000700000001:10") << "where the subscription began";
  publish("a");
  take();
  EXPECT_EQ(token(), "0000000700000001:12");
}

TEST_F(SubscriptionsTest, TheTokenOfAResumedSubscriptionNeverGoesBeyondDeliveredEvents) {
  for (int i = 0; i < 6; ++i) broker.publish("a");
  subscribe("a", {.since_token = "0000000700000001:2"});
  EXPECT_EQ(token(), "0000000700000001:2");
  live();
  publish("a");
  broker.requests.at(1).through = 2;
  EXPECT_FALSE(reply(1, 2));
  take();
  EXPECT_EQ(token(), "0000000700000001:4");
  EXPECT_TRUE(reply(1, 100));
  EXPECT_EQ(token(), "0000000700000001:4");
  take();
  EXPECT_EQ(token(), "0000000700000001:7");
}

TEST_F(SubscriptionsTest, TheTokenOfSeveralSubscriptionsIsThatOfTheSlowest) {
  for (int i = 0; i < 4; ++i) broker.publish("a");
  subscribe("b");
  subscribe("a", {.since_token = "0000000700000001:1"});
  live();
  publish("b");
  take();
  EXPECT_EQ(token(), "0000000700000001:1");
  EXPECT_TRUE(reply(1));
  take();
  EXPECT_EQ(token(), "0000000700000001:5");
}

TEST_F(SubscriptionsTest, AResetMovesTheTokenToTheNewStream) {
  subscribe("a");
  live();
  publish("a");
  take();
  subscriptions->on_reset(Reset{first_incarnation, second_incarnation});
  take();
  EXPECT_EQ(token(), "0000000700000002:0");
}

// ---- every ----

TEST_F(SubscriptionsTest, WithEveryTheFirstEventComesAtOnceThenTheLatestOncePerInterval) {
  subscribe("a", {.every = 5s});
  live();
  publish("a");
  publish("a");
  publish("a");
  EXPECT_THAT(take(), ElementsAre("subscribed 1", "a 1"));
  EXPECT_EQ(subscriptions->next_deadline(), now + 5s);
  now += 5s;
  subscriptions->tick(now);
  EXPECT_THAT(take(), ElementsAre("a 3"));
  EXPECT_EQ(subscriptions->conflated(), 1u);
  now += 5s;
  subscriptions->tick(now);
  EXPECT_THAT(take(), IsEmpty());  // nothing new
  EXPECT_EQ(subscriptions->next_deadline(), Subscriptions::Clock::time_point::max());
  publish("a");
  EXPECT_THAT(take(), ElementsAre("a 4"));
}

TEST_F(SubscriptionsTest, WithEveryEachTopicHasItsOwnInterval) {
  subscribe("*", {.every = 5s});
  live();
  publish("a");
  now += 2s;
  subscriptions->tick(now);
  publish("b");
  publish("a");
  publish("b");
  EXPECT_THAT(take(), ElementsAre("subscribed 1", "a 1", "b 1"));
  now += 3s;
  subscriptions->tick(now);
  EXPECT_THAT(take(), ElementsAre("a 2"));
  now += 2s;
  subscriptions->tick(now);
  EXPECT_THAT(take(), ElementsAre("b 2"));
}

TEST_F(SubscriptionsTest, WithEveryTheTokenWaitsForThrottledEvents) {
  subscribe("*", {.every = 5s});
  live();
  publish("a");
  publish("a");
  publish("b");
  take();
  EXPECT_EQ(token(), "0000000700000001:1");
  now += 5s;
  subscriptions->tick(now);
  take();
  EXPECT_EQ(token(), "0000000700000001:3");
}

}  // namespace
}  // namespace backplane::testing
