#include <stdexcept>

#include <gmock/gmock.h>

#include "tests/clients/subscriptions_fixture.hpp"

namespace backplane::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

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

}  // namespace
}  // namespace backplane::testing
