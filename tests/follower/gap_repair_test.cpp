#include "follower/order/gap_repair.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/follower/fake_broker.hpp"

namespace backplane::follower {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr std::uint64_t stream = 0x0000'0005'0000'0001;

class GapRepairTest : public ::testing::Test, public GapRepairSink {
 protected:
  void deliver(const Delivery& delivery) override {
    out.push_back(
        fmt::format("{} {}{}", delivery.topic, delivery.stamp.offset, delivery.late ? " late" : ""));
    resume_at.push_back(delivery.resume_at.value_or(0));
    if (delivery.mark != nullptr) marks.push_back((*delivery.mark)++);
  }
  void gap(const Gap& gap) override {
    out.push_back(fmt::format("gap {} {}-{} {}", gap.topic, gap.first, gap.last, name(gap.reason)));
  }
  void reset(const Reset& reset) override { out.push_back(fmt::format("reset to {:x}", reset.new_stream)); }

  /// Subscribes to `prefix`, active from `position` on.
  void subscribe(std::string_view prefix, std::uint64_t position = 0) {
    gap_repair.subscribe(prefix, ++ticket);
    gap_repair.on_live_reply(ticket, stream, position, false, now);
  }
  static std::string bytes(const wire::Stamp& stamp) { return testing::stamped_event("x", stamp); }
  void arrive(std::string_view topic, std::uint64_t position, std::uint64_t offset, std::uint64_t previous,
              std::uint64_t of_stream = stream) {
    const wire::Stamp stamp{of_stream, position, offset, previous, 1};
    const std::string event = bytes(stamp);
    gap_repair.on_event(topic, std::as_bytes(std::span(event)), stamp, now);
  }
  struct Stored {
    std::string topic;
    wire::Stamp stamp;
  };
  /// Replies to the last Replay request.
  void reply(const std::vector<Stored>& events, ReplayReply::End end = ReplayReply::End::complete,
             std::string_view cursor = "", std::uint64_t first_available = 0) {
    ReplayReply replay_reply;
    std::vector<std::string> kept;
    for (const Stored& stored : events) kept.push_back(bytes(stored.stamp));
    for (std::size_t i = 0; i < events.size(); ++i) {
      replay_reply.events.push_back({events[i].topic, std::as_bytes(std::span(kept[i]))});
    }
    replay_reply.end = end;
    replay_reply.cursor = cursor;
    replay_reply.first_available = first_available;
    replay_reply.destroyed = std::exchange(destroyed, {});
    gap_repair.on_replay_reply(request->number, replay_reply, now);
  }
  bool next_replay() {
    auto next = gap_repair.next_replay(now);
    if (!next) return false;  // `request` stays what is to be replied to
    request = std::move(next);
    return true;
  }
  /// Describes the last Replay request.
  std::string request_text() const {
    return fmt::format("{} ({}, {}]", request->pattern, request->after, request->until);
  }

  void pass_time(std::chrono::milliseconds time) {
    const auto until = now + time;
    do {
      now = std::min(until, now + 50ms);
      gap_repair.tick(now, true);
    } while (now < until);
  }
  /// Takes the next Tails request and replies to it.
  void tails(const std::vector<TailsReply::Tail>& all, std::uint64_t position) {
    const auto round = gap_repair.next_tails(now);
    ASSERT_TRUE(round);
    gap_repair.on_tails_reply(round->number, TailsReply{stream, position, all, {}}, now);
  }

  GapRepair gap_repair{GapRepair::Options{.recovery_limit = 1000ms,
                                          .reorder_buffer_bytes_max = 10'000,
                                          .tails_interval = 1000ms,
                                          .tails_grace = 100ms,
                                          .retry_interval = 100ms},
                       *this};
  GapRepair::Clock::time_point now{std::chrono::hours{1}};
  std::uint64_t ticket{};
  std::optional<ReplayRequest> request;
  std::vector<ReplayReply::Destroyed> destroyed;  ///< in the next reply
  std::vector<std::string> out;
  std::vector<std::uint64_t> resume_at;  ///< Delivery::resume_at
  std::vector<std::uint64_t> marks;      ///< as they arrived; each call increments the mark
};

TEST_F(GapRepairTest, DeliversEventsInOrderAtOnce) {
  subscribe("a");
  arrive("a", 1, 1, 0);
  arrive("a", 2, 2, 1);
  EXPECT_THAT(out, ElementsAre("a 1", "a 2"));
  EXPECT_FALSE(next_replay());
}

TEST_F(GapRepairTest, KeepsTheListenersMarkOfEachTopicUntilItIsUnsubscribed) {
  subscribe("a");
  arrive("a", 1, 1, 0);
  arrive("ab", 2, 1, 0);
  arrive("a", 3, 2, 1);
  arrive("a", 4, 3, 3);
  EXPECT_THAT(marks, ElementsAre(0, 0, 1, 2));
  gap_repair.unsubscribe("a");
  subscribe("a", 5);
  arrive("a", 6, 4, 4);
  EXPECT_THAT(marks, ElementsAre(0, 0, 1, 2, 0));
}

TEST_F(GapRepairTest, AdmitsEventsAsTheyArriveWhateverWasPrefetched) {
  const auto prefetch = [this](const std::vector<std::string_view>& topics) { gap_repair.prefetch(topics); };
  prefetch({"a.one", "a.two"});  // nothing is known yet
  subscribe("a.");
  arrive("a.one", 1, 1, 0);
  arrive("a.two", 2, 1, 0);
  prefetch({"a.one", "a.two", "a.three"});
  arrive("a.one", 3, 2, 1);
  arrive("a.two", 4, 2, 2);
  arrive("a.three", 5, 1, 0);
  prefetch({"a.one", "a.two", "a.three", "a.one"});  // in another order, and with topics that do not arrive
  arrive("a.three", 6, 2, 5);
  arrive("a.one", 7, 3, 3);
  prefetch({"a.one", "a.two", "a.three"});  // the topics are erased meanwhile
  gap_repair.unsubscribe("a.");
  subscribe("a.", 7);
  arrive("a.three", 8, 3, 6);
  arrive("a.two", 9, 3, 4);
  arrive("a.one", 10, 4, 7);
  prefetch(std::vector<std::string_view>(GapRepair::prefetched_max + 1, "a.one"));
  arrive("a.one", 11, 5, 10);
  EXPECT_THAT(out, ElementsAre("a.one 1", "a.two 1", "a.one 2", "a.two 2", "a.three 1", "a.three 2",
                               "a.one 3", "a.three 3", "a.two 3", "a.one 4", "a.one 5"));
  EXPECT_THAT(marks, ElementsAre(0, 0, 1, 1, 0, 1, 2, 0, 0, 3, 4));
  EXPECT_FALSE(next_replay());
}

TEST_F(GapRepairTest, BeginsWithTheFirstEventIfNothingWasMissedSinceTheLiveReply) {
  subscribe("a", 50);
  arrive("a", 60, 8, 50);
  EXPECT_THAT(out, ElementsAre("a 8"));
  EXPECT_FALSE(next_replay());
}

TEST_F(GapRepairTest, AFirstEventWhosePreviousIsAfterTheLiveReplyShowsAHole) {
  subscribe("a", 50);
  arrive("a", 60, 8, 55);
  EXPECT_THAT(out, IsEmpty());
  ASSERT_TRUE(next_replay());
  EXPECT_EQ(request_text(), "a (50, 59]");
  reply({{"a", {stream, 55, 7, 40, 1}}});
  EXPECT_THAT(out, ElementsAre("a 7", "a 8"));
}

TEST_F(GapRepairTest, BuffersTheWholeStreamWhileAHoleIsBeingRecovered) {
  subscribe("");
  arrive("a", 1, 1, 0);
  arrive("a", 5, 3, 3);
  arrive("b", 6, 1, 0);
  EXPECT_THAT(out, ElementsAre("a 1"));
  ASSERT_TRUE(next_replay());
  arrive("a", 7, 4, 5);
  EXPECT_FALSE(next_replay()) << "one Replay at a time";
  reply({{"a", {stream, 3, 2, 1, 1}}});
  EXPECT_THAT(out, ElementsAre("a 1", "a 2", "a 3", "b 1", "a 4"));
  EXPECT_EQ(gap_repair.counters().recovered, 1u);
  EXPECT_EQ(gap_repair.reorder_buffer_bytes(), 0u);
}

TEST_F(GapRepairTest, DoesNotBufferOtherStreams) {
  constexpr std::uint64_t other = 0x0000'0006'0000'0001;
  subscribe("");
  arrive("a", 1, 1, 0);
  arrive("a", 5, 3, 3);
  gap_repair.on_live_reply(ticket, other, 7, true, now);
  arrive("a", 8, 4, 7, other);
  EXPECT_THAT(out, ElementsAre("a 1", "a 4"));
}

TEST_F(GapRepairTest, ReplaysAShortRangeOfAllTopics) {
  subscribe("a.");
  arrive("a.x", 1, 1, 0);
  arrive("a.y", 2, 1, 0);
  arrive("a.x", 9, 3, 3);
  ASSERT_TRUE(next_replay());
  EXPECT_EQ(request_text(), "a.> (1, 8]");
  reply({{"a.y", {stream, 2, 1, 0, 1}}, {"a.x", {stream, 3, 2, 1, 1}}}, ReplayReply::End::more, "cursor");
  EXPECT_EQ(out.back(), "a.x 2") << "not beyond what has been replayed";
  ASSERT_TRUE(next_replay());
  EXPECT_EQ(request->cursor, "cursor");
  reply({{"a.y", {stream, 4, 2, 2, 1}}});
  EXPECT_THAT(out, ElementsAre("a.x 1", "a.y 1", "a.x 2", "a.y 2", "a.x 3"));
}

TEST_F(GapRepairTest, ReplaysOneTopicIfTheRangeIsLarge) {
  subscribe("a.");
  arrive("a.x", 1, 1, 0);
  arrive("a.y", 1000, 1, 0);
  arrive("a.x", 2000, 3, 1500);
  ASSERT_TRUE(next_replay());
  EXPECT_EQ(request_text(), "a.x (1, 1500]");
}

TEST_F(GapRepairTest, ReplaysALargeRangeOfAllTopicsIfMostOfItIsMissing) {
  subscribe("");
  arrive("a", 1, 1, 0);
  arrive("b", 2, 1, 0);
  arrive("a", 4001, 2001, 3999);
  arrive("b", 4002, 2001, 4000);
  ASSERT_TRUE(next_replay());
  EXPECT_EQ(request_text(), "> (1, 4001]");
}

TEST_F(GapRepairTest, AnEventThatIsNotRecoveredInTimeBecomesAGapInItsPlace) {
  subscribe("a");
  arrive("a", 1, 1, 0);
  arrive("a", 9, 4, 7);
  ASSERT_TRUE(next_replay());
  pass_time(999ms);
  EXPECT_THAT(out, ElementsAre("a 1"));
  EXPECT_EQ(gap_repair.next_deadline(), now + 1ms);
  pass_time(1ms);
  EXPECT_THAT(out, ElementsAre("a 1", "gap a 2-3 recovery_timeout", "a 4"));
  EXPECT_EQ(gap_repair.counters().lost_recovery_timeout, 2u);
  reply({{"a", {stream, 5, 2, 1, 1}}, {"a", {stream, 7, 3, 5, 1}}});
  EXPECT_EQ(out.size(), 3u) << "an event that was announced as lost is not delivered";
}

TEST_F(GapRepairTest, OnlyEventsThatAreStillMissingBecomeAGap) {
  subscribe("a");
  arrive("a", 1, 1, 0);
  arrive("a", 9, 5, 7);
  ASSERT_TRUE(next_replay());
  reply({{"a", {stream, 3, 2, 1, 1}}}, ReplayReply::End::more, "cursor");
  EXPECT_THAT(out, ElementsAre("a 1", "a 2")) << "in order, so nothing waits for it";
  pass_time(1000ms);
  EXPECT_THAT(out, ElementsAre("a 1", "a 2", "gap a 3-4 recovery_timeout", "a 5"));
}

TEST_F(GapRepairTest, AReplyThatArrivesInPartsAdvancesTheRecovery) {
  subscribe("a");
  arrive("a", 1, 1, 0);
  arrive("a", 3, 3, 2);
  ASSERT_TRUE(next_replay());
  for (int i = 0; i < 20; ++i) {
    pass_time(900ms);
    gap_repair.on_replay_progress(request->number, now);
  }
  reply({{"a", {stream, 2, 2, 1, 1}}});
  EXPECT_THAT(out, ElementsAre("a 1", "a 2", "a 3"));
}

TEST_F(GapRepairTest, AReplyInPartsThatNeverEndsBecomesAGap) {
  subscribe("a");
  arrive("a", 1, 1, 0);
  arrive("a", 3, 3, 2);
  ASSERT_TRUE(next_replay());
  for (int i = 0; i < 100; ++i) {
    pass_time(900ms);
    gap_repair.on_replay_progress(request->number, now);
  }
  EXPECT_THAT(out, ElementsAre("a 1", "gap a 2-2 recovery_timeout", "a 3"));
}

TEST_F(GapRepairTest, ARecoveryThatAdvancesIsNotLimitedInTime) {
  subscribe("a");
  arrive("a", 1, 1, 0);
  arrive("a", 22, 22, 21);
  for (std::uint64_t i = 2; i <= 21; ++i) {
    ASSERT_TRUE(next_replay());
    pass_time(900ms);
    const bool last = i == 21;
    reply({{"a", {stream, i, i, i - 1, 1}}}, last ? ReplayReply::End::complete : ReplayReply::End::more,
          fmt::format("{}", i));
  }
  EXPECT_EQ(out.size(), 22u);
  EXPECT_EQ(out.back(), "a 22");
  EXPECT_EQ(gap_repair.counters().gaps, 0u);
}

TEST_F(GapRepairTest, HolesThatWaitForTheirTurnAreNotLostWhileAnotherOneIsRecovered) {
  subscribe("a.");
  arrive("a.x", 1, 1, 0);
  arrive("a.y", 2, 1, 0);
  arrive("a.x", 5000, 3, 1500);
  arrive("a.y", 5001, 3, 2500);
  ASSERT_TRUE(next_replay());
  EXPECT_EQ(request_text(), "a.x (1, 1500]");
  pass_time(900ms);
  reply({{"a.x", {stream, 1500, 2, 1, 1}}});
  ASSERT_TRUE(next_replay());
  EXPECT_EQ(request_text(), "a.y (2, 2500]");
  pass_time(900ms);
  reply({{"a.y", {stream, 2500, 2, 2, 1}}});
  EXPECT_THAT(out, ElementsAre("a.x 1", "a.y 1", "a.x 2", "a.y 2", "a.x 3", "a.y 3"));
}

TEST_F(GapRepairTest, TimeInWhichTheReaderDoesNotRunDoesNotCount) {
  subscribe("a");
  arrive("a", 1, 1, 0);
  arrive("a", 9, 3, 7);
  ASSERT_TRUE(next_replay());
  for (int i = 0; i < 3; ++i) {  // stopped three times, or its caller was busy
    now += 8s;
    gap_repair.tick(now, true);
  }
  EXPECT_THAT(out, ElementsAre("a 1"));
  reply({{"a", {stream, 7, 2, 1, 1}}});
  EXPECT_THAT(out, ElementsAre("a 1", "a 2", "a 3"));
}

TEST_F(GapRepairTest, TimeDoesNotCountWhileTheLiveReplyIsBehindEventsThatAreStillToBeReceived) {
  subscribe("a");
  arrive("a", 1, 1, 0);
  arrive("a", 9, 3, 7);
  for (int i = 0; i < 100; ++i) gap_repair.tick(now += 50ms, /*drained=*/false, /*connected=*/false);
  EXPECT_THAT(out, ElementsAre("a 1"));
  pass_time(1000ms);
  EXPECT_THAT(out, ElementsAre("a 1", "gap a 2-2 recovery_timeout", "a 3"));
}

TEST_F(GapRepairTest, WhileAHoleIsOpenTheReaderIsCalledOftenEnoughToCountTheTime) {
  subscribe("a");
  arrive("a", 1, 1, 0);
  arrive("a", 9, 3, 7);
  const auto opened = now;
  while (out.size() < 3) {
    ASSERT_LE(now, opened + 1100ms);
    now = gap_repair.next_deadline() + 10ms;
    gap_repair.tick(now, true);
  }
  EXPECT_GE(now, opened + 1000ms);
}

TEST_F(GapRepairTest, EventsThatArriveWhileTheReorderBufferIsFullAreRecoveredInTheirTurn) {
  subscribe("a.");
  std::uint64_t recovered = 0;
  const auto topic = [](std::uint64_t position) { return position % 2 == 0 ? "a.x" : "a.y"; };
  const auto stamp = [&](std::uint64_t position) {
    return wire::Stamp{stream, position, (position + 1) / 2, position < 2 ? 0 : position - 2, 1};
  };
  arrive("a.y", 1, 1, 0);
  for (std::uint64_t i = 4; i <= 1000; ++i) {
    const wire::Stamp at = stamp(i);
    arrive(topic(i), i, at.offset, at.previous);
  }
  EXPECT_EQ(out.size(), 1u) << "2 and 3 are missing";
  EXPECT_LE(gap_repair.reorder_buffer_bytes(), 10'200u);
  EXPECT_GT(gap_repair.counters().discarded, 100u);
  while (next_replay()) {
    pass_time(50ms);
    std::vector<Stored> events;
    std::uint64_t at = request->cursor.empty() ? request->after : std::stoull(request->cursor);
    while (at < request->until && events.size() < 10) {
      ++at;
      if (request->pattern == "a.>" || request->pattern == topic(at))
        events.push_back({topic(at), stamp(at)});
    }
    recovered += events.size();
    reply(events, at < request->until ? ReplayReply::End::more : ReplayReply::End::complete,
          fmt::format("{}", at));
    EXPECT_LE(gap_repair.reorder_buffer_bytes(), 10'500u);
  }
  ASSERT_EQ(out.size(), 1000u);
  for (std::uint64_t i = 1; i <= 1000; ++i)
    EXPECT_EQ(out[i - 1], fmt::format("{} {}", topic(i), (i + 1) / 2));
  EXPECT_EQ(gap_repair.counters().recovered, 2 + gap_repair.counters().discarded);
  EXPECT_LT(recovered, 1100u) << "what waits in the buffer is not replayed";
  EXPECT_EQ(gap_repair.awaited(), 0u);
}

TEST_F(GapRepairTest, WhatAFullReorderBufferLeavesToHistoryIsAnnouncedIfHistoryLosesIt) {
  subscribe("a");
  arrive("a", 1, 1, 0);
  for (std::uint64_t i = 3; i <= 300; ++i) arrive("a", i, i, i - 1);
  ASSERT_TRUE(next_replay());
  EXPECT_EQ(request_text(), "a (1, 300]");
  reply({{"a", {stream, 2, 2, 1, 1}}}, ReplayReply::End::more, "cursor");
  const std::uint64_t kept = 300 - gap_repair.counters().discarded;
  ASSERT_TRUE(next_replay());
  EXPECT_EQ(request->cursor, "cursor");
  reply({}, ReplayReply::End::gone, "", 300);
  ASSERT_TRUE(next_replay());
  EXPECT_EQ(request_text(), fmt::format("a ({}, 300]", kept));
  reply({}, ReplayReply::End::gone, "", 300);
  ASSERT_TRUE(next_replay());
  reply({{"a", {stream, 300, 300, 299, 1}}});
  EXPECT_EQ(out[kept], fmt::format("gap a {}-299 history_gone", kept + 1));
  EXPECT_EQ(out.back(), "a 300");
  EXPECT_EQ(gap_repair.counters().lost_history_gone, 299 - kept);
  EXPECT_EQ(gap_repair.awaited(), 0u);
}

TEST_F(GapRepairTest, AnEventThatIsNotInACompleteReplayIsGone) {
  subscribe("a");
  arrive("a", 1, 1, 0);
  arrive("a", 9, 4, 7);
  ASSERT_TRUE(next_replay());
  reply({{"a", {stream, 7, 3, 5, 1}}});
  EXPECT_THAT(out, ElementsAre("a 1", "gap a 2-2 history_gone", "a 3", "a 4"));
}

TEST_F(GapRepairTest, DestroyedEventsAreAnnouncedBeforeTheOnesThatFollowThemInTheSameReply) {
  subscribe("a");
  arrive("a", 1, 1, 0);
  arrive("a", 9, 9, 8);
  ASSERT_TRUE(next_replay());
  destroyed = {{"a", 2, 5, true}};
  reply({{"a", {stream, 6, 6, 5, 1}}, {"a", {stream, 7, 7, 6, 1}}}, ReplayReply::End::more, "cursor");
  EXPECT_THAT(out, ElementsAre("a 1", "gap a 2-5 lost_upstream", "a 6", "a 7"));
  ASSERT_TRUE(next_replay());
  reply({{"a", {stream, 8, 8, 7, 1}}});
  EXPECT_THAT(out, ElementsAre("a 1", "gap a 2-5 lost_upstream", "a 6", "a 7", "a 8", "a 9"));
}

TEST_F(GapRepairTest, DestroyedEventsBeforeTheFirstOneAreAnnouncedInTheirPlace) {
  subscribe("a", 3);
  arrive("a", 9, 9, 8);
  ASSERT_TRUE(next_replay());
  destroyed = {{"a", 2, 6, true}};
  reply({{"a", {stream, 7, 7, 6, 1}}}, ReplayReply::End::more, "cursor");
  EXPECT_THAT(out, ElementsAre("gap a 0-6 lost_upstream", "a 7"));
  ASSERT_TRUE(next_replay());
  reply({{"a", {stream, 8, 8, 7, 1}}});
  EXPECT_THAT(out, ElementsAre("gap a 0-6 lost_upstream", "a 7", "a 8", "a 9"));
}

TEST_F(GapRepairTest, RequestsTheRestFromWhereHistoryBegins) {
  subscribe("a");
  arrive("a", 1, 1, 0);
  arrive("a", 900, 4, 700);
  ASSERT_TRUE(next_replay());
  reply({}, ReplayReply::End::gone, "", 600);
  ASSERT_TRUE(next_replay());
  EXPECT_EQ(request_text(), "a (599, 700]");
  reply({{"a", {stream, 700, 3, 500, 1}}});
  EXPECT_THAT(out, ElementsAre("a 1", "gap a 2-2 history_gone", "a 3", "a 4"));
}

TEST_F(GapRepairTest, AReplyOfGoneThatAllowsNoProgressEndsTheReplay) {
  subscribe("a");
  arrive("a", 1, 1, 0);
  arrive("a", 900, 3, 700);
  ASSERT_TRUE(next_replay());
  reply({}, ReplayReply::End::gone, "", 2);
  EXPECT_THAT(out, ElementsAre("a 1", "gap a 2-2 history_gone", "a 3"));
  EXPECT_FALSE(next_replay());
}

TEST_F(GapRepairTest, IfARangeIsGoneEachTopicIsReplayedAlone) {
  subscribe("a.");
  arrive("a.x", 1, 1, 0);
  arrive("a.y", 2, 1, 0);
  arrive("a.x", 8, 3, 5);
  arrive("a.y", 9, 3, 6);
  ASSERT_TRUE(next_replay());
  EXPECT_EQ(request_text(), "a.> (1, 8]");
  reply({}, ReplayReply::End::gone, "", 6);
  ASSERT_TRUE(next_replay());
  EXPECT_EQ(request_text(), "a.x (1, 5]");
  reply({}, ReplayReply::End::gone, "", 8);
  ASSERT_TRUE(next_replay());
  EXPECT_EQ(request_text(), "a.y (2, 6]");
  reply({{"a.y", {stream, 6, 2, 2, 1}}});
  EXPECT_THAT(out, ElementsAre("a.x 1", "a.y 1", "gap a.x 2-2 history_gone", "a.y 2", "a.x 3", "a.y 3"));
}

TEST_F(GapRepairTest, TheSizeOfALossBeforeTheFirstEventCanBeUnknown) {
  subscribe("a", 50);
  arrive("a", 60, 8, 55);
  ASSERT_TRUE(next_replay());
  gap_repair.on_replay_failed(request->number, true, now);
  ASSERT_TRUE(next_replay());
  gap_repair.on_replay_failed(request->number, true, now);
  EXPECT_THAT(out, ElementsAre("gap a 0-7 history_gone", "a 8"));
  EXPECT_EQ(gap_repair.counters().gaps_of_unknown_size, 1u);
}

TEST_F(GapRepairTest, AReplayWhoseCursorIsRefusedContinuesAfterWhatHasArrived) {
  // The broker was restarted and continues its stream, but the cursor was its process's.
  subscribe("a");
  arrive("a", 1, 1, 0);
  arrive("a", 1009, 4, 1007);
  ASSERT_TRUE(next_replay());
  EXPECT_EQ(request_text(), "a (1, 1007]");
  reply({{"a", {stream, 500, 2, 1, 1}}}, ReplayReply::End::more, "cursor");
  ASSERT_TRUE(next_replay());
  EXPECT_EQ(request->cursor, "cursor");
  gap_repair.on_replay_failed(request->number, true, now);
  ASSERT_TRUE(next_replay());
  EXPECT_EQ(request_text(), "a (500, 1007]");
  EXPECT_EQ(request->cursor, "");
  reply({{"a", {stream, 1007, 3, 500, 1}}});
  EXPECT_THAT(out, ElementsAre("a 1", "a 2", "a 3", "a 4"));
}

TEST_F(GapRepairTest, ABrokerThatRefusesItsOwnCursorsEndsTheReplay) {
  subscribe("a");
  arrive("a", 1, 1, 0);
  arrive("a", 1009, 3, 1007);
  for (int attempt = 0; attempt < 2; ++attempt) {
    ASSERT_TRUE(next_replay());
    reply({}, ReplayReply::End::more, "cursor");
    ASSERT_TRUE(next_replay());
    gap_repair.on_replay_failed(request->number, true, now);
  }
  EXPECT_THAT(out, ElementsAre("a 1", "gap a 2-2 history_gone", "a 3"));
}

TEST_F(GapRepairTest, AReplayWithoutAReplyIsRequestedAgainAfterAnInterval) {
  subscribe("a");
  arrive("a", 1, 1, 0);
  arrive("a", 9, 3, 7);
  ASSERT_TRUE(next_replay());
  gap_repair.on_replay_failed(request->number, false, now);
  EXPECT_FALSE(next_replay());
  pass_time(100ms);
  EXPECT_TRUE(next_replay());
}

TEST_F(GapRepairTest, AnEventThatArrivesTwiceIsDeliveredOnce) {
  subscribe("a");
  arrive("a", 1, 1, 0);
  arrive("a", 5, 3, 3);
  ASSERT_TRUE(next_replay());
  reply({{"a", {stream, 1, 1, 0, 1}}, {"a", {stream, 3, 2, 1, 1}}});
  arrive("a", 5, 3, 3);
  EXPECT_THAT(out, ElementsAre("a 1", "a 2", "a 3"));
  EXPECT_EQ(gap_repair.counters().duplicates, 2u);
}

TEST_F(GapRepairTest, ALossAtTheEndOfATopicIsFoundByTails) {
  subscribe("a");
  arrive("a", 1, 1, 0);
  pass_time(1000ms);
  tails({{"a", 3, 3}}, 3);
  EXPECT_FALSE(next_replay()) << "the events may be in flight";
  pass_time(100ms);
  ASSERT_TRUE(next_replay());
  EXPECT_EQ(request_text(), "a (1, 3]");
  reply({{"a", {stream, 2, 2, 1, 1}}, {"a", {stream, 3, 3, 2, 1}}});
  EXPECT_THAT(out, ElementsAre("a 1", "a 2", "a 3"));
}

TEST_F(GapRepairTest, ALossBetweenTheFirstEventAndTheFirstLiveReplyIsFoundByTails) {
  gap_repair.subscribe("a", ++ticket);
  arrive("a", 40, 3, 30);
  // The connection was lost before its live reply. This reply is of the next connection.
  gap_repair.on_live_reply(ticket, stream, 90, true, now);
  const auto tails = gap_repair.next_tails(now + 1s);
  ASSERT_TRUE(tails);
  EXPECT_EQ(tails->after, 40u);
  gap_repair.on_tails_reply(tails->number, TailsReply{stream, 90, {{"a", 80, 7}}, {}}, now);
  pass_time(100ms);
  ASSERT_TRUE(next_replay());
  EXPECT_EQ(request_text(), "a (40, 80]");
}

TEST_F(GapRepairTest, ATopicOfWhichNoEventArrivedIsFoundByTails) {
  subscribe("a.", 10);
  pass_time(1000ms);
  tails({{"a.old", 9, 4}, {"a.new", 12, 2}}, 12);
  pass_time(100ms);
  ASSERT_TRUE(next_replay());
  EXPECT_EQ(request_text(), "a.> (10, 12]");
  reply({{"a.new", {stream, 12, 2, 5, 1}}});
  EXPECT_THAT(out, ElementsAre("a.new 2"));
}

TEST_F(GapRepairTest, AnEventThatWasOnlyInFlightIsNotRequested) {
  subscribe("a");
  arrive("a", 1, 1, 0);
  pass_time(1000ms);
  tails({{"a", 2, 2}}, 2);
  arrive("a", 2, 2, 1);
  pass_time(100ms);
  EXPECT_FALSE(next_replay());
  EXPECT_THAT(out, ElementsAre("a 1", "a 2"));
}

TEST_F(GapRepairTest, ATailIsNotCheckedWhileThereIsMoreToReceive) {
  subscribe("a");
  arrive("a", 1, 1, 0);
  pass_time(1000ms);
  tails({{"a", 2, 2}}, 2);
  now += 5000ms;
  gap_repair.tick(now, /*drained=*/false);
  EXPECT_FALSE(next_replay());
  gap_repair.tick(now, /*drained=*/true);
  EXPECT_TRUE(next_replay());
}

TEST_F(GapRepairTest, TailsAreRequestedAtMostOnceASecondAndOnlyForChangedTopics) {
  subscribe("a");
  subscribe("b.");
  pass_time(1000ms);
  auto first = gap_repair.next_tails(now);
  ASSERT_TRUE(first);
  EXPECT_THAT(first->patterns, ::testing::UnorderedElementsAre("a", "b.>"));
  EXPECT_EQ(first->after, 0u);
  EXPECT_FALSE(gap_repair.next_tails(now));
  gap_repair.on_tails_reply(first->number, TailsReply{stream, 77, {}, {}}, now);
  pass_time(999ms);
  EXPECT_FALSE(gap_repair.next_tails(now));
  pass_time(1ms);
  const auto second = gap_repair.next_tails(now);
  ASSERT_TRUE(second);
  EXPECT_EQ(second->after, 77u);
}

TEST_F(GapRepairTest, ANewSubscriptionIsCheckedFromItsOwnStart) {
  subscribe("a");
  pass_time(1000ms);
  const auto first = gap_repair.next_tails(now);
  subscribe("b", 40);  // not in the pending request
  gap_repair.on_tails_reply(first->number, TailsReply{stream, 77, {}, {}}, now);
  pass_time(1000ms);
  EXPECT_EQ(gap_repair.next_tails(now)->after, 40u);
}

TEST_F(GapRepairTest, ATailsReplyThatWasAheadOfEgressDoesNotCoverANewSubscription) {
  subscribe("a");
  pass_time(1000ms);
  tails({}, 77);
  subscribe("b", 40);
  pass_time(1000ms);
  EXPECT_EQ(gap_repair.next_tails(now)->after, 40u);
}

TEST_F(GapRepairTest, TailsAreRequestedAtOnceAfterAReconnect) {
  subscribe("a");
  pass_time(1000ms);
  tails({}, 0);
  EXPECT_FALSE(gap_repair.next_tails(now));
  gap_repair.on_live_reply(ticket, stream, 9, /*first_on_connection=*/true, now);
  EXPECT_TRUE(gap_repair.next_tails(now));
}

TEST_F(GapRepairTest, ANewIncarnationOfAStreamIsAReset) {
  subscribe("a");
  arrive("a", 1, 1, 0);
  arrive("a", 5, 3, 3);
  arrive("a", 1, 1, 0, stream + 1);
  EXPECT_THAT(out, ElementsAre("a 1", "gap a 2-2 history_gone", "a 3", "reset to 500000002", "a 1"));
  EXPECT_EQ(gap_repair.counters().resets, 1u);
}

TEST_F(GapRepairTest, ANewIncarnationIsReadFromItsBeginning) {
  subscribe("a", 50);
  arrive("a", 60, 8, 50);
  gap_repair.on_live_reply(ticket, stream + 1, 7, true, now);
  arrive("a", 9, 3, 6, stream + 1);
  ASSERT_TRUE(next_replay());
  EXPECT_EQ(request->stream, stream + 1);
  EXPECT_EQ(request->after, 0u);
}

TEST_F(GapRepairTest, ABrokerThatComesBackUnderAnotherNameIsANewIncarnation) {
  constexpr std::uint64_t other = 0x0000'0006'0000'0001;
  subscribe("a");
  arrive("a", 1, 1, 0);
  arrive("a", 3, 2, 2, other);  // before the live reply
  EXPECT_THAT(out, ElementsAre("a 1")) << "the reset comes first";
  gap_repair.on_live_reply(ticket, other, 0, true, now);
  EXPECT_THAT(out, ElementsAre("a 1", fmt::format("reset to {:x}", other)));
  ASSERT_TRUE(next_replay());
  EXPECT_EQ(request->stream, other);
  EXPECT_EQ(request_text(), "a (0, 2]");
  reply({{"a", {other, 2, 1, 0, 1}}});
  EXPECT_THAT(out, ElementsAre("a 1", fmt::format("reset to {:x}", other), "a 1", "a 2"));
  arrive("a", 4, 3, 3, other);
  EXPECT_EQ(out.back(), "a 3");
}

TEST_F(GapRepairTest, AnotherBrokerInItsPlaceIsReadFromTheLiveReplyOn) {
  constexpr std::uint64_t other = 0x0000'0006'0000'0001;
  subscribe("a");
  arrive("a", 1, 1, 0);
  arrive("a", 51, 20, 49, other);
  gap_repair.on_live_reply(ticket, other, 50, true, now);
  arrive("a", 52, 21, 51, other);
  EXPECT_THAT(out, ElementsAre("a 1", "a 20", "a 21"));
  EXPECT_FALSE(next_replay());
}

TEST_F(GapRepairTest, AReplyForAnEarlierIncarnationDoesNotAffectTheNewOne) {
  subscribe("a");
  arrive("a", 1, 1, 0);
  arrive("a", 5, 3, 3);
  ASSERT_TRUE(next_replay());
  const auto old = request;
  arrive("a", 4, 2, 2, stream + 1);
  ASSERT_TRUE(next_replay());
  gap_repair.on_replay_failed(old->number, true, now);
  EXPECT_EQ(out.back(), "reset to 500000002") << "the hole in the new stream still waits for its own reply";
}

TEST_F(GapRepairTest, UnsubscribedEventsAreNeitherDeliveredNorAnnouncedAsLost) {
  subscribe("a");
  subscribe("b");
  arrive("a", 1, 1, 0);
  arrive("b", 2, 1, 0);
  arrive("a", 6, 3, 4);
  arrive("b", 7, 2, 2);
  gap_repair.unsubscribe("a");
  pass_time(1000ms);
  EXPECT_THAT(out, ElementsAre("a 1", "b 1", "b 2"));
}

TEST_F(GapRepairTest, AfterSubscribingAgainEventsOfTheTimeBetweenAreNotMissing) {
  subscribe("a");
  arrive("a", 1, 1, 0);
  gap_repair.unsubscribe("a");
  subscribe("a", 20);
  arrive("a", 30, 9, 15);
  EXPECT_THAT(out, ElementsAre("a 1", "a 9"));
}

TEST_F(GapRepairTest, ATopicStaysKnownWhileAnotherPrefixCoversIt) {
  subscribe("a.");
  subscribe("a.b");
  arrive("a.b", 1, 1, 0);
  gap_repair.unsubscribe("a.");
  arrive("a.b", 5, 3, 3);
  EXPECT_TRUE(next_replay());
}

TEST_F(GapRepairTest, EventsWithoutAnOffsetAreDeliveredUnchecked) {
  subscribe("a");
  arrive("a", 1, 0, 0);
  arrive("a", 2, 0, 0);
  EXPECT_EQ(out.size(), 2u);
}

TEST_F(GapRepairTest, ALossThatShowsOnlyLaterIsDeliveredAsLate) {
  subscribe("a");
  subscribe("b");
  arrive("a", 1, 1, 0);
  arrive("b", 5, 1, 0);  // a 2 at position 3 is lost, which nothing shows yet
  arrive("a", 7, 3, 3);
  ASSERT_TRUE(next_replay());
  reply({{"a", {stream, 3, 2, 1, 1}}});
  EXPECT_THAT(out, ElementsAre("a 1", "b 1", "a 2 late", "a 3"));
}

TEST_F(GapRepairTest, ReadingResumesAfterTheLastEventExceptWhileEventsAreMissing) {
  subscribe("a");
  subscribe("b");
  arrive("a", 1, 1, 0);
  arrive("b", 5, 1, 0);  // a 2 at position 3 is lost, which nothing shows yet
  arrive("a", 7, 3, 3);
  arrive("b", 8, 2, 5);
  ASSERT_TRUE(next_replay());
  reply({{"a", {stream, 3, 2, 1, 1}}});
  ASSERT_THAT(out, ElementsAre("a 1", "b 1", "a 2 late", "a 3", "b 2"));
  EXPECT_THAT(resume_at, ElementsAre(1u, 5u, 0u, 0u, 8u))
      << "the events from a 2 to b 2 were in the reorder buffer";
}

TEST_F(GapRepairTest, AfterALostConnectionReadingResumesBeforeItUntilNothingIsMissing) {
  subscribe("a");
  subscribe("b");
  arrive("a", 3, 1, 0);
  pass_time(1000ms);
  tails({}, 3);
  pass_time(0ms);
  gap_repair.on_disconnected();
  // a 2 at position 4 was published meanwhile.
  arrive("b", 6, 1, 0);
  gap_repair.on_live_reply(ticket, stream, 6, /*first_on_connection=*/true, now);
  gap_repair.doubt_until(6);
  arrive("b", 7, 2, 6);
  EXPECT_THAT(resume_at, ElementsAre(3u, 3u, 3u));
  tails({{"a", 4, 2}, {"b", 7, 2}}, 7);
  pass_time(100ms);
  ASSERT_TRUE(next_replay());
  reply({{"a", {stream, 4, 2, 3, 1}}});
  pass_time(0ms);
  arrive("b", 8, 3, 7);
  ASSERT_THAT(out, ElementsAre("a 1", "b 1", "b 2", "a 2 late", "b 3"));
  EXPECT_EQ(resume_at.back(), 8u);
}

TEST_F(GapRepairTest, InvalidRepliesAreCountedAndEndTheReplay) {
  subscribe("a");
  arrive("a", 1, 1, 0);
  arrive("a", 5, 3, 3);
  ASSERT_TRUE(next_replay());
  ReplayReply invalid;
  const std::string no_event(100, 'x');
  invalid.events.push_back({"a", std::as_bytes(std::span(no_event))});
  const std::string other = bytes({stream + 9, 3, 2, 1, 1});
  invalid.events.push_back({"a", std::as_bytes(std::span(other))});
  const std::string later = bytes({stream, 50, 20, 1, 1});
  invalid.events.push_back({"a", std::as_bytes(std::span(later))});
  invalid.end = ReplayReply::End::more;  // without a cursor
  gap_repair.on_replay_reply(request->number, invalid, now);
  EXPECT_EQ(gap_repair.counters().undecodable, 3u);
  EXPECT_THAT(out, ElementsAre("a 1", "gap a 2-2 history_gone", "a 3"));
}

TEST_F(GapRepairTest, AnEventMayArriveIfItWasPublishedSinceTheSubscriptionAndHasNotArrived) {
  const auto may_arrive = [&](std::string_view topic, std::uint64_t position, std::uint64_t offset) {
    return gap_repair.may_arrive(topic, {stream, position, offset, 0, 1});
  };
  EXPECT_FALSE(may_arrive("a.x", 5, 1)) << "of a stream that is not read";
  subscribe("a.", 10);
  EXPECT_FALSE(may_arrive("a.x", 10, 1));
  EXPECT_TRUE(may_arrive("a.x", 11, 2));
  EXPECT_FALSE(may_arrive("b", 11, 2)) << "not subscribed to";
  arrive("a.x", 11, 2, 10);
  EXPECT_FALSE(may_arrive("a.x", 10, 1));
  EXPECT_FALSE(may_arrive("a.x", 11, 2));
  EXPECT_TRUE(may_arrive("a.x", 12, 3));
  arrive("a.x", 14, 5, 13);  // waits for those before it
  arrive("a.y", 15, 1, 0);
  EXPECT_TRUE(may_arrive("a.x", 12, 3)) << "missing";
  EXPECT_TRUE(may_arrive("a.x", 14, 5)) << "in the reorder buffer";
  EXPECT_TRUE(may_arrive("a.y", 15, 1)) << "in the reorder buffer";
  ASSERT_TRUE(next_replay());
  reply({{"a.x", {stream, 12, 3, 11, 1}}, {"a.x", {stream, 13, 4, 12, 1}}});
  EXPECT_FALSE(may_arrive("a.x", 12, 3));
  EXPECT_FALSE(may_arrive("a.x", 14, 5));
  EXPECT_FALSE(may_arrive("a.y", 15, 1));
  EXPECT_TRUE(may_arrive("a.z", 13, 1)) << "only tails show that it is missing";
  pass_time(1000ms);
  tails({{"a.x", 14, 5}, {"a.y", 15, 1}}, 15);
  pass_time(0ms);
  EXPECT_FALSE(may_arrive("a.z", 13, 1)) << "below the low watermark";
  EXPECT_TRUE(may_arrive("a.z", 16, 1));
}

TEST_F(GapRepairTest, AnEventFromBeforeASubscriptionWasRenewedDoesNotArrive) {
  subscribe("a");
  arrive("a", 1, 1, 0);
  gap_repair.unsubscribe("a");
  gap_repair.subscribe("a", ++ticket);
  EXPECT_TRUE(gap_repair.may_arrive("a", {stream, 3, 2, 1, 1})) << "where it begins is not known yet";
  gap_repair.on_live_reply(ticket, stream, 5, false, now);
  EXPECT_FALSE(gap_repair.may_arrive("a", {stream, 3, 2, 1, 1}));
  EXPECT_TRUE(gap_repair.may_arrive("a", {stream, 6, 3, 3, 1}));
}

}  // namespace
}  // namespace backplane::follower
