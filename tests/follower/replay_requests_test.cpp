#include <stdexcept>

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "follower/follower.hpp"
#include "tests/follower/follower_fixture.hpp"

namespace backplane::testing {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr std::uint64_t first_incarnation = 0x0000'0007'0000'0001;
constexpr std::uint64_t second_incarnation = 0x0000'0007'0000'0002;

class ReplayRequestsTest : public FollowerFixture {
 protected:
  void publish(int first, int last) {
    for (int i = first; i <= last; ++i) broker.publish("a.b", std::to_string(i));
  }
  std::vector<ReplaySlice>& slices(std::uint64_t request) { return recorder.slices[request]; }
  /// Reads until a slice is complete or the request ends. @returns all slices.
  std::vector<ReplaySlice> read_all(std::uint64_t request) {
    std::size_t seen = 0;
    const bool done = until([&] {
      auto& all = slices(request);
      if (all.size() == seen) return false;
      seen = all.size();
      if (all.back().complete || all.back().error) return true;
      follower->replay_more(request);
      return false;
    });
    EXPECT_TRUE(done);
    return slices(request);
  }
};

TEST_F(ReplayRequestsTest, DeliversOneSlicePerReplayMore) {
  publish(1, 7);
  start();
  const auto request = follower->replay("a.>", AfterPositions{{{first_incarnation, 1}}});
  ASSERT_TRUE(until([&] { return slices(request).size() == 1; }));
  for (int i = 0; i < 100; ++i) turn();
  EXPECT_THAT(recorder.replayed[request], ElementsAre("2", "3", "4"));
  EXPECT_FALSE(slices(request)[0].complete);
  follower->replay_more(request);
  ASSERT_TRUE(until([&] { return slices(request).size() == 2; }));
  EXPECT_THAT(recorder.replayed[request], ElementsAre("2", "3", "4", "5", "6", "7"));
}

TEST_F(ReplayRequestsTest, IsCompleteUpToTheBrokersPosition) {
  publish(1, 2);
  broker.publish("other", "x");
  start();
  const auto request = follower->replay("a.b", AfterPositions{{{first_incarnation, 0}}});
  const auto all = read_all(request);
  ASSERT_EQ(all.size(), 1u);
  EXPECT_TRUE(all[0].complete);
  EXPECT_EQ(all[0].through.front().stream, first_incarnation);
  EXPECT_EQ(all[0].through.front().position, 3u);
  EXPECT_FALSE(all[0].gone || all[0].reset || all[0].error);
}

TEST_F(ReplayRequestsTest, ContinuesAfterItsEndWithNewEvents) {
  publish(1, 2);
  start();
  const auto request = follower->replay("a.b", AfterPositions{{{first_incarnation, 0}}});
  (void)read_all(request);
  publish(3, 4);
  follower->replay_more(request);
  ASSERT_TRUE(until([&] { return slices(request).size() == 2; }));
  EXPECT_THAT(recorder.replayed[request], ElementsAre("1", "2", "3", "4"));
  EXPECT_EQ(slices(request)[1].through.front().position, 4u);
}

TEST_F(ReplayRequestsTest, BeginsAfterAnOffset) {
  broker.publish("other", "x");
  publish(1, 4);
  start();
  const auto request = follower->replay("a.b", AfterOffset{2});
  EXPECT_TRUE(read_all(request).back().complete);
  EXPECT_THAT(recorder.replayed[request], ElementsAre("3", "4"));
}

TEST_F(ReplayRequestsTest, BeginsAtATime) {
  publish(1, 9);
  start();
  const auto request = follower->replay("a.b", SinceTime{4});  // the fake broker's clock is its position
  EXPECT_TRUE(read_all(request).back().complete);
  EXPECT_THAT(recorder.replayed[request], ElementsAre("4", "5", "6", "7", "8", "9"));
}

TEST_F(ReplayRequestsTest, BeginsATimeAgoByTheBrokersClockWheneverTheRequestIsSent) {
  publish(1, 9);
  start();
  const auto asked_at = std::chrono::steady_clock::now() - 5min;
  const auto request = follower->replay("a.b", SinceAgo{10min, asked_at});
  EXPECT_TRUE(read_all(request).back().complete);
  EXPECT_THAT(recorder.replayed[request], SizeIs(9));
  ASSERT_GT(broker.since_ago_ns.size(), 1u) << "several slices";
  for (const std::uint64_t ago : broker.since_ago_ns) EXPECT_EQ(ago, broker.since_ago_ns.front());
  const auto minutes = std::chrono::nanoseconds(broker.since_ago_ns.front()) / 1min;
  EXPECT_EQ(minutes, 15);
}

TEST_F(ReplayRequestsTest, ReportsWhatIsGoneAndContinuesWithTheRest) {
  publish(1, 6);
  broker.evict_history(4);
  start();
  const auto request = follower->replay("a.b", AfterPositions{{{first_incarnation, 1}}});
  const auto all = read_all(request);
  ASSERT_EQ(all.size(), 2u);
  ASSERT_TRUE(all[0].gone);
  EXPECT_EQ(all[0].gone->first_available, 5u);
  EXPECT_EQ(all[0].through.front().position, 4u);
  EXPECT_TRUE(all[1].complete);
  EXPECT_THAT(recorder.replayed[request], ElementsAre("5", "6"));
}

TEST_F(ReplayRequestsTest, AfterARestartBeginsWithAResetAndAllOfTheNewStream) {
  publish(1, 3);
  broker.restart_without_state(second_incarnation);
  publish(4, 5);
  start();
  const auto request = follower->replay("a.b", AfterPositions{{{first_incarnation, 2}}});
  const auto all = read_all(request);
  ASSERT_TRUE(all[0].reset);
  EXPECT_EQ(all[0].reset->old_stream, first_incarnation);
  EXPECT_EQ(all[0].reset->new_stream, second_incarnation);
  EXPECT_FALSE(all[0].complete) << "the reset comes alone, before the first event of the new stream";
  ASSERT_EQ(all.size(), 2u);
  EXPECT_THAT(recorder.replayed[request], ElementsAre("4", "5"));
}

TEST_F(ReplayRequestsTest, OfAnotherBrokersStreamBeginsWithAResetAndNewEvents) {
  publish(1, 3);
  start();
  const auto request = follower->replay("a.b", AfterPositions{{{0x0000'0009'0000'0001, 2}}});
  const auto all = read_all(request);
  ASSERT_EQ(all.size(), 1u);
  EXPECT_TRUE(all[0].complete);
  ASSERT_TRUE(all[0].reset);
  EXPECT_EQ(all[0].reset->old_stream, 0x0000'0009'0000'0001u);
  EXPECT_EQ(all[0].through.front().stream, first_incarnation);
  EXPECT_EQ(all[0].through.front().position, 3u);
  EXPECT_THAT(recorder.replayed[request], IsEmpty());
}

TEST_F(ReplayRequestsTest, AfterAPositionThatIsNotReachedBeginsWithAResetAndAllOfTheStream) {
  publish(1, 3);
  start();
  for (const ReplayFrom& from :
       {ReplayFrom{AfterPositions{{{first_incarnation, 1'000'000}}}}, ReplayFrom{AfterOffset{4}}}) {
    const auto request = follower->replay("a.b", from);
    const auto all = read_all(request);
    ASSERT_EQ(all.size(), 2u);
    ASSERT_TRUE(all[0].reset);
    EXPECT_EQ(all[0].reset->old_stream, first_incarnation);
    EXPECT_EQ(all[0].reset->new_stream, first_incarnation);
    EXPECT_TRUE(all[1].complete);
    EXPECT_EQ(all[1].through.front().position, 3u) << "later events are new to the reader";
    EXPECT_THAT(recorder.replayed[request], ElementsAre("1", "2", "3"));
  }
}

TEST_F(ReplayRequestsTest, OfSeveralPositionsUsesTheOneOfTheBrokersStream) {
  publish(1, 3);
  start();
  const auto request =
      follower->replay("a.b", AfterPositions{{{0x0000'0009'0000'0001, 2}, {first_incarnation, 2}}});
  EXPECT_FALSE(read_all(request)[0].reset);
  EXPECT_THAT(recorder.replayed[request], ElementsAre("3"));
}

TEST_F(ReplayRequestsTest, ContinuesAcrossARestartOfTheBrokerWithAReset) {
  publish(1, 7);
  start();
  const auto request = follower->replay("a.b", AfterPositions{{{first_incarnation, 0}}});
  ASSERT_TRUE(until([&] { return slices(request).size() == 1; }));
  broker.close();
  ASSERT_TRUE(until([&] { return !follower->connected(); }));
  broker.restart_without_state(second_incarnation);
  broker.open();
  publish(101, 102);
  follower->replay_more(request);
  ASSERT_TRUE(until([&] { return slices(request).size() == 2; }));
  ASSERT_TRUE(slices(request)[1].reset);
  EXPECT_THAT(recorder.replayed[request], ElementsAre("1", "2", "3"))
      << "the reset comes before events of the new stream";
  EXPECT_TRUE(read_all(request).back().complete);
  EXPECT_THAT(recorder.replayed[request], ElementsAre("1", "2", "3", "101", "102"));
}

TEST_F(ReplayRequestsTest, ContinuesAfterALostConnection) {
  publish(1, 7);
  start();
  const auto request = follower->replay("a.b", AfterPositions{{{first_incarnation, 0}}});
  ASSERT_TRUE(until([&] { return slices(request).size() == 1; }));
  broker.close();
  ASSERT_TRUE(until([&] { return !follower->connected(); }));
  broker.open();
  const auto all = read_all(request);
  EXPECT_TRUE(all.back().complete);
  EXPECT_THAT(recorder.replayed[request], ElementsAre("1", "2", "3", "4", "5", "6", "7"));
}

TEST_F(ReplayRequestsTest, IsSentAgainIfTheBrokerIsBusy) {
  publish(1, 2);
  broker.refused_replays = 2;
  start();
  const auto request = follower->replay("a.b", AfterPositions{{{first_incarnation, 0}}});
  EXPECT_TRUE(read_all(request).back().complete);
  EXPECT_THAT(recorder.replayed[request], ElementsAre("1", "2"));
}

TEST_F(ReplayRequestsTest, EndsInAnErrorAfterSeveralRefusals) {
  broker.refused_replays = 1000;
  start();
  const auto request = follower->replay("a.b", AfterPositions{{{first_incarnation, 0}}});
  const auto all = read_all(request);
  ASSERT_TRUE(all.back().error);
  EXPECT_EQ(all.back().error->code, ErrorCode::exhausted);
  const auto sent = broker.requests.size();
  follower->replay_more(request);
  for (int i = 0; i < 100; ++i) turn();
  EXPECT_EQ(broker.requests.size(), sent);
}

TEST_F(ReplayRequestsTest, OfABadPatternEndsInAnErrorAtOnce) {
  start();
  const auto request = follower->replay("a..b", AfterPositions{{{first_incarnation, 0}}});
  const auto all = read_all(request);
  ASSERT_TRUE(all.back().error);
  EXPECT_EQ(all.back().error->code, ErrorCode::invalid_argument);
}

TEST_F(ReplayRequestsTest, EndsInAnErrorAfterSeveralTimeouts) {
  broker.replies_to_requests = false;
  auto with = options();
  with.control_timeout = 50ms;
  start(with);
  const auto request = follower->replay("a.b", AfterPositions{{{first_incarnation, 0}}});
  const auto all = read_all(request);
  ASSERT_TRUE(all.back().error);
  EXPECT_EQ(all.back().error->code, ErrorCode::timeout);
}

TEST_F(ReplayRequestsTest, IsSentAgainAfterATimeout) {
  publish(1, 2);
  broker.replies_to_requests = false;
  auto with = options();
  with.control_timeout = 200ms;
  start(with);
  const auto request = follower->replay("a.b", AfterPositions{{{first_incarnation, 0}}});
  ASSERT_TRUE(until([&] { return follower->status().control_timeouts > 0; }));
  broker.replies_to_requests = true;
  const auto all = read_all(request);
  EXPECT_FALSE(all.back().error);
  EXPECT_TRUE(all.back().complete);
  EXPECT_THAT(recorder.replayed[request], ElementsAre("1", "2"));
}

TEST_F(ReplayRequestsTest, ReportsNothingAfterCancel) {
  publish(1, 7);
  start();
  const auto request = follower->replay("a.b", AfterPositions{{{first_incarnation, 0}}});
  ASSERT_TRUE(until([&] { return slices(request).size() == 1; }));
  follower->replay_more(request);
  follower->cancel(request);
  const auto other = follower->replay("a.b", AfterPositions{{{first_incarnation, 6}}});
  ASSERT_TRUE(until([&] { return slices(other).size() == 1; }));
  EXPECT_EQ(slices(request).size(), 1u);
  EXPECT_EQ(recorder.replayed[request].size(), 3u);
}

TEST_F(ReplayRequestsTest, LimitsTheRequestsInFlight) {
  publish(1, 2);
  broker.replies_to_requests = false;
  start();
  std::vector<std::uint64_t> requests;
  for (int i = 0; i < 100; ++i) requests.push_back(follower->replay("a.b", AfterOffset{0}));
  const auto replay_count = [&] {
    return std::count_if(broker.requests.begin(), broker.requests.end(),
                         [](const auto& request) { return request.has_replay(); });
  };
  ASSERT_TRUE(until([&] { return replay_count() == 8; }));
  for (int i = 0; i < 100; ++i) turn();
  EXPECT_EQ(replay_count(), 8);
}

// ---- other requests ----

class ControlRequestsTest : public ReplayRequestsTest {};

TEST_F(ControlRequestsTest, RetainedValuesHaveThePositionOfTheFirstReply) {
  publish(1, 5);
  broker.values = {{"v.1", "one"}, {"v.2", "two"}, {"v.3", "three"}, {"v.4", "four"}};
  start();
  const auto request = follower->retained("v.*");
  ASSERT_TRUE(until([&] { return recorder.retained[request].size() == 3; }));
  publish(6, 9);
  ASSERT_TRUE(until([&] { return recorder.ended.contains(request); }));
  EXPECT_EQ(recorder.retained_positions[request], (StreamPosition{first_incarnation, 5}));
}

TEST_F(ControlRequestsTest, ACancelledRetainedRequestDeliversNothing) {
  broker.values = {{"v.1", "one"}};
  start();
  const auto first = follower->retained("v.*");
  const auto second = follower->retained("v.*");
  follower->cancel(first);
  ASSERT_TRUE(until([&] { return recorder.ended.contains(second); }));
  EXPECT_FALSE(recorder.ended.contains(first));
  EXPECT_FALSE(recorder.retained.contains(first));
}

TEST_F(ControlRequestsTest, TopicsComeInPages) {
  for (const char* topic : {"t.1", "t.2", "t.3", "t.4", "u"}) broker.publish(topic, "x");
  start();
  std::optional<Result<TopicsPage>> page;
  const auto request_page = [&](std::string_view cursor) {
    page.reset();
    follower->topics("t.*", cursor, [&](Result<TopicsPage> result) { page = std::move(result); });
    return until([&] { return page.has_value(); });
  };
  ASSERT_TRUE(request_page(""));
  ASSERT_TRUE(*page) << page->error().text;
  EXPECT_EQ((*page)->topics.size(), 3u);
  EXPECT_EQ((*page)->topics[1].name, "t.2");
  EXPECT_EQ((*page)->topics[1].position, 2u);
  EXPECT_EQ((*page)->stream, first_incarnation);
  ASSERT_TRUE(request_page((*page)->cursor));
  EXPECT_EQ((*page)->topics.size(), 1u);
  EXPECT_EQ((*page)->cursor, "");
}

TEST_F(ControlRequestsTest, TypesAreOneSetFromAllReplies) {
  google::protobuf::FileDescriptorProto file;
  for (const char* name : {"one.proto", "two.proto"}) {
    file.set_name(name);
    broker.type_files.push_back(file.SerializeAsString());
  }
  start();
  std::optional<Result<TypesReply>> types;
  follower->types({"no.Such"}, [&](Result<TypesReply> result) { types = std::move(result); });
  ASSERT_TRUE(until([&] { return types.has_value(); }));
  ASSERT_TRUE(*types) << types->error().text;
  google::protobuf::FileDescriptorSet set;
  ASSERT_TRUE(set.ParseFromString((*types)->files));
  ASSERT_EQ(set.file_size(), 2);
  EXPECT_EQ(set.file(1).name(), "two.proto");
  EXPECT_THAT((*types)->unknown, ElementsAre("no.Such"));
}

TEST_F(ControlRequestsTest, StatsAreOneValueFromAllReplies) {
  publish(1, 3);
  start();
  std::optional<Result<BrokerStats>> stats;
  follower->stats([&](Result<BrokerStats> result) { stats = std::move(result); });
  ASSERT_TRUE(until([&] { return stats.has_value(); }));
  ASSERT_TRUE(*stats) << stats->error().text;
  EXPECT_EQ((*stats)->counters.at("events_received_total"), 3u);
  ASSERT_EQ((*stats)->participants.size(), 2u);
  EXPECT_EQ((*stats)->participants[1].name, "gateway");
  EXPECT_EQ((*stats)->participants[1].role, ParticipantInfo::Role::gateway);
}

TEST_F(ControlRequestsTest, ARequestWithoutAReplyInTimeEndsInAnError) {
  broker.replies_to_requests = false;
  auto with = options();
  with.control_timeout = 50ms;
  start(with);
  std::optional<Result<BrokerStats>> stats;
  follower->stats([&](Result<BrokerStats> result) { stats = std::move(result); });
  ASSERT_TRUE(until([&] { return stats.has_value(); }));
  ASSERT_FALSE(*stats);
  EXPECT_EQ(stats->error().code, ErrorCode::timeout);
}

}  // namespace
}  // namespace backplane::testing
