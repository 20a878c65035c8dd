// Retained and Replay, with the history in memory and with one that completes reads later.

#include <memory>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "broker/control/service.hpp"
#include "tests/broker/control/service_fixture.hpp"
#include "tests/broker/state/manual_history.hpp"

namespace backplane::broker {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class HistoryReads : public testing::Test {
 protected:
  ServiceFixture broker;
};

std::vector<std::string> texts(const google::protobuf::RepeatedPtrField<v1::StoredEvent>& events) {
  std::vector<std::string> all;
  for (const auto& each : events) all.push_back(each.topic() + "=" + text_of(each));
  return all;
}

v1::ControlRequest since(const std::string& pattern, std::int64_t ns) {
  v1::ControlRequest request;
  request.mutable_replay()->set_pattern(pattern);
  request.mutable_replay()->set_since_ns(ns);
  return request;
}

v1::ControlRequest after_offset(const std::string& pattern, std::uint64_t offset) {
  v1::ControlRequest request;
  request.mutable_replay()->set_pattern(pattern);
  request.mutable_replay()->set_after_offset(offset);
  return request;
}

TEST_F(HistoryReads, RetainedReturnsTheLastValueOfEachTopicInNameOrder) {
  broker.publish("b", "1");
  broker.publish("a", "1");
  broker.publish("b", "2");
  const auto reply = broker.retained(">");
  EXPECT_TRUE(reply.has_complete());
  EXPECT_THAT(texts(reply.retained().events()), ElementsAre("a=1", "b=2"));
}

TEST_F(HistoryReads, RetainedOfNothingIsComplete) {
  const auto reply = broker.retained("nothing.here");
  EXPECT_TRUE(reply.has_complete());
  EXPECT_TRUE(reply.has_retained());
  EXPECT_EQ(reply.retained().events_size(), 0);
}

TEST_F(HistoryReads, AClearedValueIsNotRetainedButReplayed) {
  broker.publish("a", "1");
  broker.publish("a", v1::Event());
  EXPECT_EQ(broker.retained("a").retained().events_size(), 0);
  EXPECT_EQ(broker.replay("a", 0).replay().events_size(), 2);
}

TEST_F(HistoryReads, SystemTopicsAreReadByName) {
  broker.publish("$SYS.source.clock", "up");
  EXPECT_EQ(broker.retained(">").retained().events_size(), 0);
  EXPECT_THAT(texts(broker.retained("$SYS.source.>").retained().events()),
              ElementsAre("$SYS.source.clock=up"));
}

TEST_F(HistoryReads, ReplayReturnsTheEventsAsPublished) {
  broker.publish("a", "1");
  broker.publish("b", "2");
  broker.publish("a", "3");
  const auto reply = broker.replay("a", 1);
  ASSERT_TRUE(reply.has_complete());
  ASSERT_THAT(texts(reply.replay().events()), ElementsAre("a=3"));
  EXPECT_EQ(reply.replay().through_position(), 3u);
  v1::Event event;
  ASSERT_TRUE(event.ParseFromString(reply.replay().events(0).event()));
  EXPECT_EQ(event.stamp().position(), 3u);
  EXPECT_EQ(event.stamp().offset(), 2u);
  EXPECT_EQ(event.stamp().previous(), 1u);
}

TEST_F(HistoryReads, ReplayStopsAtUntilPosition) {
  for (int i = 1; i <= 10; ++i) broker.publish("a", std::to_string(i));
  const auto reply = broker.replay("a", 2, "", 5);
  EXPECT_TRUE(reply.has_complete());
  EXPECT_THAT(texts(reply.replay().events()), ElementsAre("a=3", "a=4", "a=5"));
}

TEST_F(HistoryReads, ReplaySinceATimeBeginsThere) {
  for (int i = 1; i <= 4; ++i) broker.publish("a", std::to_string(i));
  EXPECT_THAT(texts(broker.send(since(">", 3'000'000)).replay().events()), ElementsAre("a=3", "a=4"));
}

TEST_F(HistoryReads, ReplaySinceSomeTimeAgoBeginsThatLongBeforeNowByTheBrokersClock) {
  for (int i = 0; i < 1200; ++i) broker.publish("a", "1");  // the fixture's events are from 1970
  v1::ControlRequest request;
  request.mutable_replay()->set_pattern(">");
  constexpr std::uint64_t hour_ns = 3'600'000'000'000;
  request.mutable_replay()->set_since_ago_ns(hour_ns);
  EXPECT_EQ(broker.send(request).replay().events_size(), 0);
  request.mutable_replay()->set_since_ago_ns(hour_ns * 24 * 365 * 200);
  int events = 0;
  for (auto reply = broker.send(request);; reply = broker.send(request)) {
    ASSERT_FALSE(reply.has_error()) << reply.DebugString();
    events += reply.replay().events_size();
    if (reply.has_complete()) break;
    request.mutable_replay()->set_cursor(reply.more().cursor());
  }
  EXPECT_EQ(events, 1200);
  request.mutable_replay()->set_since_ago_ns(hour_ns);
  EXPECT_EQ(broker.send(request).error().code(), "bad_cursor");  // the cursor of another request
}

TEST_F(HistoryReads, ReplayAfterAnOffsetIsOfOneTopic) {
  broker.publish("a", "1");
  broker.publish("b", "1");
  broker.publish("a", "2");
  EXPECT_THAT(texts(broker.send(after_offset("a", 1)).replay().events()), ElementsAre("a=2"));
  const auto refused = broker.send(after_offset("a.>", 1));
  EXPECT_EQ(refused.error().code(), "bad_pattern");
  EXPECT_THAT(refused.error().text(), HasSubstr("expected one topic with after_offset, got \"a.>\""));
}

TEST_F(HistoryReads, ReplayRequiresAStart) {
  v1::ControlRequest request;
  request.mutable_replay()->set_pattern(">");
  const auto reply = broker.send(request);
  EXPECT_EQ(reply.error().code(), "malformed");
  EXPECT_THAT(reply.error().text(), HasSubstr("after_position"));
}

TEST_F(HistoryReads, ReplayAfterAPositionOfAnotherStreamIsRefused) {
  v1::ControlRequest request;
  request.mutable_replay()->set_pattern(">");
  request.mutable_replay()->mutable_after_position()->set_stream(0xdead);
  const auto reply = broker.send(request);
  EXPECT_EQ(reply.error().code(), "other_stream");
  EXPECT_EQ(reply.error().text(),
            "replay.after_position.stream: expected 0000000100000002, got 000000000000dead");
}

TEST_F(HistoryReads, ReplayAfterAPositionThatIsNotReachedIsRefused) {
  broker.publish("a", "1");
  broker.publish("b", "1");
  v1::ControlRequest request;
  request.mutable_replay()->set_pattern(">");
  request.mutable_replay()->mutable_after_position()->set_stream(broker.state.stream);
  request.mutable_replay()->mutable_after_position()->set_position(2);
  EXPECT_TRUE(broker.send(request).has_complete()) << "the last one is reached";
  request.mutable_replay()->mutable_after_position()->set_position(3);
  EXPECT_EQ(broker.send(request).error().code(), "not_reached");
  EXPECT_EQ(broker.send(request).error().text(), "replay.after_position.position: expected at most 2, got 3");
  EXPECT_TRUE(broker.send(after_offset("a", 1)).has_complete());
  EXPECT_EQ(broker.send(after_offset("a", 2)).error().text(),
            "replay.after_offset: expected at most 1, got 2");
  EXPECT_EQ(broker.send(after_offset("never", 1)).error().code(), "not_reached");
  EXPECT_TRUE(broker.send(after_offset("never", 0)).has_complete());
}

TEST_F(HistoryReads, GoneSaysWhereHistoryBegins) {
  HistoryLimits limits;
  limits.otherwise.history_events = 3;
  ServiceFixture small(limits);
  for (int i = 1; i <= 10; ++i) small.publish("a", std::to_string(i));
  const auto reply = small.replay("a", 2);
  ASSERT_TRUE(reply.has_gone());
  EXPECT_FALSE(reply.has_replay());
  EXPECT_EQ(reply.gone().first_available(), 8u);
  EXPECT_EQ(reply.gone().first_available_offset(), 8u);
  const auto again = small.replay("a", reply.gone().first_available() - 1);
  EXPECT_TRUE(again.has_complete());
  EXPECT_THAT(texts(again.replay().events()), ElementsAre("a=8", "a=9", "a=10"));
}

TEST_F(HistoryReads, ALongReplayComesInSlicesWithoutHolesOrDuplicates) {
  for (std::size_t i = 1; i <= 5000; ++i) {
    broker.publish("t." + std::to_string(i % 7), std::string(1 + i % 300, 'x'));
  }
  std::uint64_t expected = 0;
  std::string cursor;
  int slices = 0;
  v1::ControlReply reply;
  do {
    reply = broker.replay(">", 0, cursor);
    ASSERT_LE(broker.replies.all[0].bytes, reply_bytes_max);
    ASSERT_LE(reply.replay().events_size(), 512);
    for (const auto& event : reply.replay().events()) ASSERT_EQ(position_of(event), ++expected);
    ASSERT_EQ(reply.replay().through_position(), expected);
    cursor = reply.more().cursor();
    ASSERT_LT(++slices, 100);
  } while (reply.has_more());
  EXPECT_TRUE(reply.has_complete());
  EXPECT_EQ(expected, 5000u);
}

TEST_F(HistoryReads, SlicesAreShortWhileEventsFlow) {
  for (int i = 1; i <= 1000; ++i) broker.publish("t", "x");
  EXPECT_EQ(broker.replay(">", 0).replay().events_size(), 512);
  broker.service.set_busy(true);
  const auto slice = broker.replay(">", 0);
  EXPECT_EQ(slice.replay().events_size(), static_cast<int>(busy_reply_events_max));
  EXPECT_EQ(slice.replay().through_position(), busy_reply_events_max);
  broker.service.set_busy(false);
  const auto rest = broker.replay(">", 0, slice.more().cursor());
  EXPECT_EQ(rest.replay().events_size(), 512);
  EXPECT_EQ(position_of(rest.replay().events(0)), busy_reply_events_max + 1);
}

TEST_F(HistoryReads, EventsAtTheLimitStayWithinAReplyAndALargerOneTravelsAlone) {
  const std::string topic = "t." + std::string(250, 'x');
  for (int i = 0; i < 3; ++i) broker.publish(topic, std::string(120'000, 'x'));
  broker.publish(topic, std::string(500'000, 'x'));
  broker.publish(topic, "last");
  std::vector<int> sizes;
  std::string cursor;
  v1::ControlReply reply;
  do {
    reply = broker.replay(">", 0, cursor);
    sizes.push_back(reply.replay().events_size());
    if (broker.replies.all[0].bytes > reply_bytes_max) {
      EXPECT_EQ(sizes.back(), 1);
    }
    cursor = reply.more().cursor();
  } while (reply.has_more());
  EXPECT_THAT(sizes, ElementsAre(2, 1, 1, 1));
}

TEST_F(HistoryReads, ARequestForShortRepliesGetsShortOnes) {
  for (int i = 0; i < 100; ++i) broker.publish("t." + std::to_string(i), std::string(300, 'x'));
  broker.publish("t.large", std::string(20'000, 'x'));
  v1::ControlRequest request;
  request.set_reply_bytes_max(4096);
  for (const bool retained : {false, true}) {
    int events = 0;
    std::string cursor;
    for (bool more = true; more;) {
      if (retained) {
        request.mutable_retained()->set_pattern(">");
        request.mutable_retained()->set_cursor(cursor);
      } else {
        request.mutable_replay()->set_pattern(">");
        request.mutable_replay()->set_since_ns(0);
        request.mutable_replay()->set_cursor(cursor);
      }
      const auto reply = broker.send(request);
      const int in_reply = reply.retained().events_size() + reply.replay().events_size();
      ASSERT_GT(in_reply, 0);
      if (in_reply > 1) {
        EXPECT_LE(broker.replies.all[0].bytes, 4096u + 200);
      }
      events += in_reply;
      more = reply.has_more();
      cursor = reply.more().cursor();
    }
    EXPECT_EQ(events, 101);
  }
}

TEST_F(HistoryReads, AReplyOfAtMostOneByteHasOneEvent) {
  for (int i = 0; i < 3; ++i) broker.publish("t", "x");
  v1::ControlRequest request;
  request.set_reply_bytes_max(1);
  request.mutable_replay()->set_pattern(">");
  request.mutable_replay()->set_since_ns(0);
  const auto reply = broker.send(request);
  EXPECT_EQ(reply.replay().events_size(), 1);
  EXPECT_TRUE(reply.has_more());
}

TEST_F(HistoryReads, SmallEventsOfLongTopicsFillAReplyWithoutOverflow) {
  for (int i = 0; i < 2000; ++i)
    broker.publish(std::to_string(i) + std::string(250, 'x'), std::string(200, 'y'));
  int values = 0;
  std::string cursor;
  v1::ControlReply reply;
  do {
    reply = broker.retained("*", cursor);
    ASSERT_LE(broker.replies.all[0].bytes, reply_bytes_max);
    values += reply.retained().events_size();
    cursor = reply.more().cursor();
  } while (reply.has_more());
  EXPECT_EQ(values, 2000);
}

// ── a history that completes reads later ──

class LateReads : public testing::Test {
 protected:
  LateReads() : store_(new ManualHistory), broker_({}, std::unique_ptr<HistoryStore>(store_)) {}

  void send(std::uint64_t id, const std::string& client) {
    v1::ControlRequest request = since(">", 0);
    request.set_version(1);
    request.set_id(id);
    broker_.service.request({client}, bytes_of(request.SerializeAsString()), broker_.now);
  }
  void complete_read(std::uint64_t ticket, ReadSlice::End end, const std::string& cursor = "") {
    ReadSlice slice;
    slice.ticket = ticket;
    slice.end = end;
    slice.cursor = cursor;
    slice.through_position = ticket;
    store_->ready.push_back(std::move(slice));
  }

  ManualHistory* store_;
  ServiceFixture broker_;
};

TEST_F(LateReads, EachSliceGoesToItsClientWhenItIsReady) {
  broker_.state.position = 10;
  send(7, "first");
  send(8, "second");
  EXPECT_EQ(broker_.service.pending(), 2u);
  EXPECT_TRUE(broker_.replies.all.empty());
  complete_read(2, ReadSlice::End::complete);
  complete_read(1, ReadSlice::End::more, "on");
  broker_.service.poll();
  ASSERT_EQ(broker_.replies.all.size(), 2u);
  EXPECT_EQ(broker_.replies.all[0].envelope, (Envelope{"second"}));
  EXPECT_EQ(broker_.replies.all[0].reply.id(), 8u);
  EXPECT_EQ(broker_.replies.all[1].envelope, (Envelope{"first"}));
  EXPECT_EQ(broker_.replies.all[1].reply.id(), 7u);
  EXPECT_TRUE(broker_.replies.all[1].reply.has_more());
  EXPECT_EQ(broker_.service.pending(), 0u);
}

TEST_F(LateReads, HistoryEndsBeforeWhatIsNotPublished) {
  broker_.state.position = 1;
  send(7, "first");
  send(8, "second");
  complete_read(1, ReadSlice::End::more, "on");
  complete_read(2, ReadSlice::End::more, "on");
  broker_.service.poll();
  ASSERT_EQ(broker_.replies.all.size(), 2u);
  EXPECT_TRUE(broker_.replies.all[0].reply.has_more());
  EXPECT_TRUE(broker_.replies.all[1].reply.has_complete());
  EXPECT_EQ(broker_.replies.all[1].reply.replay().through_position(), 1u);
}

TEST_F(LateReads, ACursorThatTheStoreDoesNotKnowIsRefused) {
  send(1, "a");
  complete_read(1, ReadSlice::End::bad_cursor);
  broker_.service.poll();
  ASSERT_EQ(broker_.replies.all.size(), 1u);
  EXPECT_EQ(broker_.replies.all[0].reply.error().code(), "bad_cursor");
  EXPECT_EQ(broker_.state.counters.control_refused_total, 1u);
}

TEST_F(LateReads, AreRefusedAboveALimitAndThePendingOnesComplete) {
  std::uint64_t id = 0;
  while (broker_.replies.all.empty()) {
    send(++id, "a");
    ASSERT_LT(id, 100'000u);
  }
  EXPECT_EQ(broker_.replies.all[0].reply.error().code(), "busy");
  EXPECT_EQ(broker_.service.pending(), id - 1);
  for (std::uint64_t ticket = 1; ticket < id; ++ticket) complete_read(ticket, ReadSlice::End::complete);
  broker_.service.poll();
  EXPECT_EQ(broker_.replies.all.size(), id);
  EXPECT_EQ(broker_.service.pending(), 0u);
}

// ── confirmations ──

class Confirmations : public testing::Test {
 protected:
  Confirmations() : store_(new ManualHistory), broker_({}, std::unique_ptr<HistoryStore>(store_)) {
    bool is_new = false;
    broker_.state.sessions.use("clock", 7, is_new).sequence = 41;
  }
  void ask(std::uint64_t id) {
    v1::ControlRequest request;
    request.set_version(1);
    request.set_id(id);
    request.mutable_admitted()->set_source("clock");
    request.mutable_admitted()->set_session(7);
    broker_.service.request({"client"}, bytes_of(request.SerializeAsString()), broker_.now);
  }

  ManualHistory* store_;
  ServiceFixture broker_;
};

TEST_F(Confirmations, WaitWhileABatchIsBeingWrittenAndThenReportWhatIsAdmitted) {
  broker_.state.unpublished.emplace_back().stamp.position = broker_.state.position = 1;
  ask(1);
  broker_.service.poll();
  EXPECT_TRUE(broker_.replies.all.empty());
  EXPECT_EQ(broker_.service.pending(), 1u);
  // Later events are being written when these are published: the reply does not wait for them.
  bool is_new = false;
  broker_.state.sessions.use("clock", 7, is_new).sequence = 42;
  broker_.state.unpublished.emplace_back().stamp.position = broker_.state.position = 2;
  broker_.service.poll();
  EXPECT_TRUE(broker_.replies.all.empty());
  broker_.state.unpublished.pop_front(1);
  broker_.service.poll();
  ASSERT_EQ(broker_.replies.all.size(), 1u);
  EXPECT_EQ(broker_.replies.all[0].reply.id(), 1u);
  EXPECT_EQ(broker_.replies.all[0].reply.admitted().sequence(), 41u);
  EXPECT_TRUE(broker_.replies.all[0].reply.has_complete());
  EXPECT_EQ(broker_.service.pending(), 0u);
}

TEST(PartialHistory, IsWhatIsLeft) {
  HistoryLimits limits;
  limits.otherwise.history_events = 2;
  ServiceFixture broker(limits);
  for (const char* const topic : {"a", "b", "a", "a"}) broker.publish(topic, "x");
  v1::ControlRequest request;
  request.set_version(1);
  request.mutable_replay()->set_pattern(">");
  request.mutable_replay()->mutable_after_position()->set_stream(ServiceFixture::stream);
  request.mutable_replay()->set_until_position(4);
  broker.service.request({}, bytes_of(request.SerializeAsString()), {}, {});
  request.mutable_replay()->set_partial(true);
  broker.service.request({}, bytes_of(request.SerializeAsString()), {}, {});
  ASSERT_EQ(broker.replies.all.size(), 2u);
  EXPECT_TRUE(broker.replies.all[0].reply.has_gone());
  const v1::ControlReply& reply = broker.replies.all[1].reply;
  EXPECT_TRUE(reply.has_complete());
  ASSERT_EQ(reply.replay().events_size(), 3);
  EXPECT_EQ(reply.replay().events(0).topic(), "b");
  EXPECT_EQ(reply.replay().through_position(), 4u);
}

TEST(LostEvents, AreReportedInTheirPlace) {
  ServiceFixture broker;
  broker.publish("a", "1");
  v1::Event lost;
  lost.set_source("link");
  lost.set_lost(3);
  broker.state.topics.find_or_add("a")->offset += 2;
  broker.publish("a", lost);
  broker.publish("a", "5");
  v1::ControlRequest request;
  request.set_version(1);
  request.mutable_replay()->set_pattern("a");
  request.mutable_replay()->set_since_ns(0);
  broker.service.request({}, bytes_of(request.SerializeAsString()), {}, {});
  ASSERT_EQ(broker.replies.all.size(), 1u);
  const v1::ReplayReply& reply = broker.replies.all[0].reply.replay();
  ASSERT_EQ(reply.events_size(), 2);
  ASSERT_EQ(reply.destroyed_size(), 1);
  EXPECT_EQ(reply.destroyed(0).topic(), "a");
  EXPECT_EQ(reply.destroyed(0).first_offset(), 2u);
  EXPECT_EQ(reply.destroyed(0).last_offset(), 4u);
  EXPECT_EQ(reply.destroyed(0).position(), 2u);
  EXPECT_TRUE(reply.destroyed(0).upstream());
  EXPECT_EQ(reply.through_position(), 3u);
}

TEST_F(Confirmations, WaitUntilTheEventsAreDurableIfTheStorePromisesIt) {
  store_->promise = HistoryStore::Guarantee::machine;
  broker_.state.last_ticket = 3;
  store_->durable = 2;
  ask(1);
  bool is_new = false;
  broker_.state.sessions.use("clock", 7, is_new).sequence = 42;  // later, and perhaps not durable
  broker_.state.last_ticket = 4;
  ask(2);
  EXPECT_TRUE(broker_.replies.all.empty());
  store_->durable = 3;
  broker_.service.poll();
  ASSERT_EQ(broker_.replies.all.size(), 1u);
  EXPECT_EQ(broker_.replies.all[0].reply.admitted().sequence(), 41u);
  store_->durable = 4;
  broker_.service.poll();
  ASSERT_EQ(broker_.replies.all.size(), 2u);
  EXPECT_EQ(broker_.replies.all[1].reply.admitted().sequence(), 42u);
}

TEST_F(Confirmations, DoNotWaitForMoreThanTheStorePromises) {
  broker_.state.last_ticket = 3;
  ask(1);
  EXPECT_EQ(broker_.replies.all.size(), 1u);
}

}  // namespace
}  // namespace backplane::broker
