#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/gateway/stage.hpp"

namespace backplane::gateway {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class HubReplayTest : public Stage {
 protected:
  HubReplayTest() {
    come_up();
    a_ = connect();
    send(a_, "FORMAT text+offset\n");
    a_.take();
  }
  void subscribe(const std::string& what) {
    send(a_, "SUB " + what + "\n");
    prove();
  }
  [[nodiscard]] std::uint64_t request() const { return upstream_.replays.back().request; }
  [[nodiscard]] int asked() const { return upstream_.replays.back().asked; }
  void replayed(const NumberedEvents::Event& event) { hub_.on_replayed(request(), event.delivery()); }
  void slice(ReplaySlice slice) {
    if (slice.through.empty()) slice.through = {{broker_.stream(), 0}};
    hub_.on_replay_slice(request(), slice);
    turn();
  }
  void complete(std::uint64_t through) {
    ReplaySlice to;
    to.complete = true;
    to.through = {{broker_.stream(), through}};
    slice(to);
  }
  void gone(std::uint64_t position, std::uint64_t offset) {
    ReplaySlice to;
    to.gone = ReplaySlice::Gone{broker_.stream(), position, offset};
    slice(to);
  }
  Peer a_;
};

TEST_F(HubReplayTest, HistoryFollowsTheReplyAndMeetsTheLiveEvents) {
  std::vector<NumberedEvents::Event> past;
  for (int i = 0; i < 6; ++i) past.push_back(broker_.publish("a", "x"));
  subscribe("a since=0");
  EXPECT_EQ(a_.take(), "+OK SUB a\n");
  replayed(past[0]);
  replayed(past[1]);
  slice({});
  EXPECT_EQ(a_.take(), "a 1 x\na 2 x\n");
  EXPECT_EQ(asked(), 2) << "the client has read the slice";
  deliver(past[2]);  // live, before the replay has sent it
  replayed(past[2]);
  replayed(past[3]);
  complete(4);
  EXPECT_EQ(asked(), 3) << "once more, with live events in the join buffer";
  deliver(past[3]);
  deliver(past[4]);
  EXPECT_EQ(a_.take(), "a 3 x\na 4 x\n");
  // The broker's reply is ahead of the live events.
  replayed(past[4]);
  replayed(past[5]);
  complete(6);
  deliver(past[5]);
  publish("a", "live");
  EXPECT_EQ(a_.take(), "a 5 x\na 6 x\na 7 live\n");
  EXPECT_THAT(upstream_.cancelled, ElementsAre(request()));
}

TEST_F(HubReplayTest, HistoryIsSentNoFasterThanTheClientReads) {
  const auto one = broker_.publish("a", std::string(40'000, 'x'));
  subscribe("a since=0");
  a_.take();
  a_.stream->room = 0;
  replayed(one);
  slice({});
  EXPECT_EQ(asked(), 1);
  publish("a", "two");
  read_all(a_);
  EXPECT_EQ(asked(), 2);
}

TEST_F(HubReplayTest, EventsThatHistoryNoLongerHasAreAGap) {
  subscribe("a since=2");
  gone(10, 9);
  EXPECT_EQ(a_.take(), "+OK SUB a\n!GAP a 3 8 history_gone\n");
  EXPECT_EQ(asked(), 2);
  send(a_, "SUB a.* since=1h\n");
  prove();
  gone(10, 0);
  EXPECT_EQ(a_.take(), "+OK SUB a.*\n!GAP a.* 0 0 history_gone\n");
}

TEST_F(HubReplayTest, APeriodIsCountedBackByTheBrokersClock) {
  subscribe("a.* since=10m");
  const auto& from = std::get<SinceAgo>(upstream_.replays.back().from);
  EXPECT_EQ(from.ago, std::chrono::minutes{10});
  EXPECT_EQ(from.at, now_);
}

TEST_F(HubReplayTest, TheMissedEventsOfABrokerThatIsAwayAreAGap) {
  const auto other = NumberedEvents(0x2'00000001).publish("a", "x");
  for (int i = 0; i < 3; ++i) publish("b");
  deliver(other);
  subscribe("a since=0000000100000001:2,0000000200000001:0");
  complete(3);  // only the first broker is read
  complete(3);
  EXPECT_EQ(a_.take(), "+OK SUB a\n!GAP a 0 0 recovery_timeout\n");
  subscribe("b since=0000000100000001:2,0000000200000001:1");
  complete(3);
  complete(3);
  EXPECT_EQ(a_.take(), "+OK SUB b\n") << "nothing of it was missed";
}

TEST_F(HubReplayTest, ThePositionIsReportedAfterTheHistoryAndIsThatOfTheHistoryOrTheLowWatermark) {
  upstream_.live_position_now = {broker_.stream(), 0};
  subscribe("a since=0");
  send(a_, "POSITION\nPING\n");
  EXPECT_EQ(a_.take(), "+OK SUB a\n");
  const auto one = broker_.publish("a", "one");
  replayed(one);
  complete(1);
  complete(1);
  EXPECT_EQ(a_.take(), "a 1 one\n+OK POSITION 0000000100000001:1\n+PONG\n");
  publish("a", "two");
  publish("a", "three");
  upstream_.low_watermark_now = {broker_.stream(), 2};
  a_.take();
  send(a_, "POSITION\n");
  EXPECT_EQ(a_.take(), "+OK POSITION 0000000100000001:2\n") << "something at 3 may still be recovered";
}

TEST_F(HubReplayTest, ANewIncarnationOfTheBrokerIsAReset) {
  subscribe("a since=0000000100000000:5");
  ReplaySlice reset;
  reset.reset = Reset{0x1'00000000, broker_.stream()};
  slice(reset);
  EXPECT_EQ(a_.take(), "+OK SUB a\n!RESET a\n");
  EXPECT_EQ(asked(), 2);
}

TEST_F(HubReplayTest, WithoutAReplyTheRestIsLostAndLiveEventsFollow) {
  subscribe("a since=0");
  ReplaySlice failed;
  failed.error = Error{ErrorCode::timeout, "no reply"};
  slice(failed);
  publish("a", "live");
  EXPECT_EQ(a_.take(), "+OK SUB a\n!GAP a 0 0 recovery_timeout\na 1 live\n");
}

TEST_F(HubReplayTest, SubscribingAgainWithSinceSendsEveryEventInOrder) {
  subscribe("a");
  const auto one = publish("a", "one");
  EXPECT_EQ(a_.take(), "+OK SUB a\na 1 one\n");
  subscribe("a since=0");
  const auto two = publish("a", "two");
  replayed(one);
  replayed(two);
  complete(2);
  complete(2);
  publish("a", "three");
  EXPECT_EQ(a_.take(), "+OK SUB a\na 1 one\na 2 two\na 3 three\n");
}

TEST_F(HubReplayTest, TheFormatChangesOnlyAfterTheReplay) {
  const auto one = broker_.publish("a", "one");
  subscribe("a since=0");
  send(a_, "FORMAT text\nPING\n");
  replayed(one);
  complete(1);
  EXPECT_EQ(a_.take(), "+OK SUB a\na 1 one\n");
  complete(1);
  publish("a", "two");
  EXPECT_EQ(a_.take(), "+OK FORMAT text\n+PONG\na two\n");
}

TEST_F(HubReplayTest, WhatHistoryContainedDoesNotComeAgainAfterTheFormatHasChanged) {
  const auto one = broker_.publish("a", "one");
  subscribe("a since=0");
  send(a_, "FORMAT text\n");
  replayed(one);
  complete(1);
  complete(1);
  EXPECT_EQ(a_.take(), "+OK SUB a\na 1 one\n+OK FORMAT text\n");
  deliver(one);  // the broker's reply was ahead of the live events
  publish("a", "two");
  EXPECT_EQ(a_.take(), "a two\n");
}

TEST_F(HubReplayTest, UnsubscribingEndsTheReplay) {
  subscribe("a since=0");
  send(a_, "UNSUB a\n");
  EXPECT_EQ(a_.take(), "+OK SUB a\n+OK UNSUB a\n");
  EXPECT_THAT(upstream_.cancelled, ElementsAre(request()));
  EXPECT_THAT(upstream_.prefixes, IsEmpty());
  hub_.on_replay_slice(request(), {});
}

TEST_F(HubReplayTest, TheReplayContinuesAfterTheJoinBufferOverflows) {
  subscribe("a since=0");
  complete(0);
  std::vector<NumberedEvents::Event> live;
  for (int i = 0; i < 10; ++i) live.push_back(publish("a", std::string(1u << 20, 'x')));
  // The join buffer exceeds the backlog's limit and is discarded: the replay sends these events like the
  // rest.
  for (const auto& event : live) replayed(event);
  complete(broker_.position());
  complete(broker_.position());
  publish("a", "live");
  const std::string all = a_.take();
  for (int i = 1; i <= 10; ++i) {
    EXPECT_NE(all.find("\na " + std::to_string(i) + " xxx"), std::string::npos) << i;
  }
  EXPECT_TRUE(all.ends_with("\na 11 live\n"));
  EXPECT_EQ(all.find('!'), std::string::npos);
}

}  // namespace
}  // namespace backplane::gateway
