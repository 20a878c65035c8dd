// Joining with a replay: live messages wait in a join buffer until the client has the replay.
#include <chrono>
#include <memory>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fanout/shard.hpp"
#include "tests/fanout/shard_fixture.hpp"

namespace backplane::fanout {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;

constexpr StreamId stream{0};
constexpr ClientId one{1};
constexpr AudienceId all{9};

/// Topics 1 and 2 with an audience each, an audience of both topics, and a client that has joined none of
/// them. Offsets count per topic, positions over both.
class BufferedJoin : public ::testing::Test {
 protected:
  BufferedJoin() : BufferedJoin(ShardOptions{}) {}
  explicit BufferedJoin(ShardOptions options, LogOptions log_options = {}) : rig_(options, log_options) {
    for (const std::uint32_t topic : {1u, 2u}) {
      rig_.shard.set_route(RouteId{topic}, {AudienceId{topic}, all});
    }
    client_ = rig_.add(1);
  }

  void append(std::uint32_t topic, std::uint64_t offset, std::size_t padding = 0) {
    rig_.append_at(topic, offset, stream, ++position_, padding);
    rig_.read_log();
  }
  void join(AudienceId audience) { rig_.shard.join_buffered(one, audience); }
  void release(AudienceId audience, SkipPtr skip = nullptr) {
    rig_.shard.release_join_buffer(one, audience, std::move(skip));
  }
  static SkipPtr up_to(std::uint64_t position) {
    auto skip = std::make_shared<Skip>();
    skip->add_stream(stream, position);
    return skip;
  }
  static SkipPtr up_to(TopicId topic, std::uint64_t position) {
    auto skip = std::make_shared<Skip>();
    skip->add_topic(topic, stream, position);
    return skip;
  }
  /// Everything that the client has received so far.
  const std::string& output() {
    rig_.flush();
    return client_->stream.output;
  }
  [[nodiscard]] const ShardCounters& counters() const { return rig_.shard.counters(); }
  [[nodiscard]] const DeliveryLedger& ledger() { return rig_.shard.ledger(); }

  std::uint64_t position_{};
  ShardRig rig_;
  std::shared_ptr<Peer> client_;
};

TEST_F(BufferedJoin, MessagesOfAJoiningAudienceFollowTheRepliesMadeMeanwhile) {
  append(1, 1);
  join(AudienceId{1});
  append(1, 2);
  append(1, 3);
  EXPECT_EQ(output(), "");
  rig_.client(1).reply("1 1 (replayed)\n");
  release(AudienceId{1});
  append(1, 4);
  EXPECT_EQ(output(), "1 1 (replayed)\n1 2 \n1 3 \n1 4 \n");
  EXPECT_EQ(ledger().matched, 3u);
}

TEST_F(BufferedJoin, MessagesThatTheReplayContainedAreSkipped) {
  join(all);
  append(1, 1);
  append(2, 1);
  append(1, 2);
  append(2, 2);
  release(all, up_to(2));
  EXPECT_EQ(output(), "1 2 \n2 2 \n");
  EXPECT_EQ(ledger().skipped, 2u);
}

TEST_F(BufferedJoin, ASkipOfOneTopicDoesNotAffectOthers) {
  join(all);
  append(2, 1);
  append(1, 1);
  append(2, 2);
  append(1, 2);
  release(all, up_to(TopicId{1}, 2));
  EXPECT_EQ(output(), "2 1 \n2 2 \n1 2 \n");
}

TEST_F(BufferedJoin, AReplayThatRanAheadOfTheLogCausesNoDuplicates) {
  join(AudienceId{1});
  append(1, 1);
  release(AudienceId{1}, up_to(3));  // it contained 1, 2 and 3
  append(1, 2);
  append(1, 3);
  append(1, 4);
  EXPECT_EQ(output(), "1 4 \n");
  EXPECT_EQ(ledger().skipped, 3u);
}

TEST_F(BufferedJoin, AReplayOfOneTopicThatRanAheadDoesNotAffectOthers) {
  rig_.shard.join(one, AudienceId{2});
  join(AudienceId{1});
  release(AudienceId{1}, up_to(4));  // of topic 1
  append(2, 1);
  append(1, 1);
  append(2, 2);
  append(1, 2);
  append(1, 3);
  EXPECT_EQ(output(), "2 1 \n2 2 \n1 3 \n");
}

TEST_F(BufferedJoin, AReplayThatRanAheadAlsoSkipsItsMessagesThroughOtherAudiences) {
  rig_.shard.join(one, all);
  join(AudienceId{1});
  release(AudienceId{1}, up_to(2));
  append(1, 1);
  append(2, 1);
  append(1, 2);
  EXPECT_EQ(output(), "2 1 \n1 2 \n");
}

TEST_F(BufferedJoin, MessagesOfAnotherStreamAreNotSkipped) {
  join(AudienceId{1});
  release(AudienceId{1}, up_to(1000));
  rig_.append_at(1, 1, StreamId{1}, 1);  // the broker came back without its history
  rig_.read_log();
  EXPECT_EQ(output(), "1 1 \n");
}

TEST_F(BufferedJoin, ASkipIsDestroyedWhenNoneOfItsMessagesCanArriveAnyMore) {
  join(AudienceId{1});
  auto skip = up_to(2);
  const std::weak_ptr<const Skip> watched = skip;
  release(AudienceId{1}, std::move(skip));
  EXPECT_FALSE(watched.expired());
  append(2, 1);
  EXPECT_FALSE(watched.expired());
  append(2, 2);  // of a topic to which the client does not subscribe
  EXPECT_FALSE(watched.expired()) << "a message may still come late";
  rig_.shard.advance_low_watermark(stream, 1);
  EXPECT_FALSE(watched.expired());
  rig_.shard.advance_low_watermark(stream, 2);
  EXPECT_TRUE(watched.expired());
}

TEST_F(BufferedJoin, ASkipBelowTheLowWatermarkIsNotKept) {
  join(AudienceId{1});
  append(2, 1);
  append(2, 2);
  rig_.shard.advance_low_watermark(stream, 2);
  auto skip = up_to(2);
  const std::weak_ptr<const Skip> watched = skip;
  release(AudienceId{1}, std::move(skip));
  EXPECT_TRUE(watched.expired());
}

TEST_F(BufferedJoin, AMessageThatAlsoComesThroughAnActiveAudienceIsSentOnceAndAtOnce) {
  rig_.shard.join(one, AudienceId{1});
  join(all);
  append(1, 1);
  append(2, 1);
  EXPECT_EQ(output(), "1 1 \n");
  release(all);
  EXPECT_EQ(output(), "1 1 \n2 1 \n");
}

TEST_F(BufferedJoin, AMessageInTwoJoinBuffersIsSentOnce) {
  join(AudienceId{1});
  join(all);
  append(1, 1);
  append(2, 1);
  append(1, 2);
  release(AudienceId{1});
  append(1, 3);
  release(all);
  append(1, 4);
  EXPECT_EQ(output(), "1 1 \n1 2 \n1 3 \n2 1 \n1 4 \n");
}

TEST_F(BufferedJoin, ATopicsOrderIsKeptWhenAnotherAudienceIsJoinedMeanwhile) {
  join(all);
  append(1, 1);
  append(2, 1);
  rig_.shard.join(one, AudienceId{1});
  append(1, 2);  // would overtake
  append(2, 2);
  EXPECT_EQ(output(), "");
  release(all);
  append(1, 3);
  EXPECT_EQ(output(), "1 1 \n2 1 \n1 2 \n2 2 \n1 3 \n");
}

TEST_F(BufferedJoin, MessagesBehindAJoinBufferAreSentWhenItsAudienceIsLeft) {
  join(all);
  append(1, 1);
  rig_.shard.join(one, AudienceId{1});
  append(1, 2);
  rig_.shard.leave(one, all);
  EXPECT_EQ(output(), "1 2 \n");
  append(2, 1);
  append(1, 3);
  EXPECT_EQ(output(), "1 2 \n1 3 \n");
}

TEST_F(BufferedJoin, AClientThatLeavesGetsNothingFromTheJoinBuffer) {
  join(AudienceId{1});
  append(1, 1);
  rig_.shard.leave(one, AudienceId{1});
  release(AudienceId{1});
  EXPECT_EQ(output(), "");
}

TEST_F(BufferedJoin, AMemberCanBeginBuffering) {
  rig_.shard.join(one, AudienceId{1});
  append(1, 1);
  join(AudienceId{1});
  append(1, 2);
  EXPECT_EQ(output(), "1 1 \n");
  release(AudienceId{1});
  EXPECT_EQ(output(), "1 1 \n1 2 \n");
}

TEST_F(BufferedJoin, JoinDoesNotEndBufferingAndReleaseWithoutBufferingDoesNothing) {
  join(AudienceId{1});
  rig_.shard.join(one, AudienceId{1});
  append(1, 1);
  EXPECT_EQ(output(), "");
  release(AudienceId{1});
  release(AudienceId{1}, up_to(1000));
  release(AudienceId{2});
  append(1, 2);
  EXPECT_EQ(output(), "1 1 \n1 2 \n");
}

TEST_F(BufferedJoin, AThrottledJoinBufferSendsTheFirstMessageAtOnceAndThenTheLatest) {
  rig_.shard.set_interval(AudienceId{1}, 5s);
  join(AudienceId{1});
  append(1, 1);
  append(1, 2);
  append(1, 3);
  release(AudienceId{1}, up_to(1));
  EXPECT_EQ(output(), "1 2 \n");
  rig_.pass(5020ms);
  EXPECT_EQ(output(), "1 2 \n1 3 \n");
}

TEST_F(BufferedJoin, AThrottledMessageIsNotSentAfterANewerOne) {
  rig_.shard.set_interval(AudienceId{1}, 5s);
  rig_.shard.join(one, AudienceId{1});
  append(1, 1);
  append(1, 2);
  rig_.shard.join(one, all);
  append(1, 3);
  rig_.pass(5020ms);
  EXPECT_EQ(output(), "1 1 \n1 3 \n");
  EXPECT_EQ(ledger().conflated, 1u);
}

TEST_F(BufferedJoin, AClientThatVanishesWhileBufferingUnpinsTheLog) {
  join(all);
  for (std::uint64_t i = 1; i <= 20; ++i) append(1, i, 100'000);
  client_->stream.error = ECONNRESET;
  rig_.client(1).reply("x\n");
  rig_.flush();
  rig_.flush();
  EXPECT_TRUE(client_->handler_destroyed);
  for (std::uint64_t i = 21; i <= 25; ++i) append(1, i, 100'000);
  EXPECT_LE(rig_.log.bytes_in_use(), 600'000u);
}

class SmallJoinBuffer : public BufferedJoin {
 protected:
  SmallJoinBuffer() : BufferedJoin(options()) {}
  static ShardOptions options() {
    ShardOptions options;
    options.client.backlog_bytes_max = 1000;
    return options;
  }
};

TEST_F(SmallJoinBuffer, AJoinBufferThatGrowsTooLargeIsDiscardedAndTheHandlerIsNotified) {
  join(AudienceId{1});
  join(AudienceId{2});
  append(2, 1);
  for (std::uint64_t i = 1; i <= 20; ++i) append(1, i, 100);
  rig_.flush();
  EXPECT_THAT(client_->full_join_buffers, ElementsAre(AudienceId{1}));
  EXPECT_EQ(counters().join_buffers_full.get(), 1u);
  release(AudienceId{1});
  release(AudienceId{2});
  append(1, 21);
  EXPECT_EQ(output(), "2 1 \n") << "it has left audience 1 and stays in audience 2";
  join(AudienceId{1});
  append(1, 22);
  release(AudienceId{1});
  EXPECT_EQ(output(), "2 1 \n1 22 \n") << "it can join again";
}

TEST_F(SmallJoinBuffer, MessagesBehindADiscardedJoinBufferAreSent) {
  join(all);
  append(1, 1, 900);
  rig_.shard.join(one, AudienceId{1});
  append(1, 2, 10);
  append(1, 3, 10);
  EXPECT_THAT(output(), ShardRig::text(1, 2, 10) + ShardRig::text(1, 3, 10));
  EXPECT_THAT(client_->full_join_buffers, ElementsAre(all));
}

class SmallLogJoin : public BufferedJoin {
 protected:
  SmallLogJoin() : BufferedJoin({}, options()) {}
  static LogOptions options() {
    LogOptions options;
    options.segment_bytes = 100;
    options.bytes_max = 1000;
    return options;
  }
};

TEST_F(SmallLogJoin, AJoinBufferIsDiscardedWhenTheLogMayNotBePinnedAnyLonger) {
  join(AudienceId{1});
  append(1, 1);
  rig_.shard.join(one, AudienceId{2});
  for (std::uint64_t i = 1; i <= 100; ++i) append(2, i, 50);
  EXPECT_LE(rig_.log.bytes_in_use(), 1300u);
  EXPECT_TRUE(output().ends_with(ShardRig::text(2, 100, 50)));
  EXPECT_THAT(client_->full_join_buffers, ElementsAre(AudienceId{1}));
}

TEST_F(SmallLogJoin, MessagesReleasedOutOfOrderAreDroppedAndAnnouncedBeforeTheyPinTheLog) {
  client_->stream.room = 0;
  const auto other = rig_.add(2);
  other->stream.room = 0;
  rig_.shard.join(ClientId{2}, AudienceId{2});
  join(AudienceId{1});
  append(1, 1);
  for (std::uint64_t i = 1; i <= 5; ++i) append(2, i, 50);
  rig_.shard.join(one, AudienceId{2});
  append(2, 6, 50);
  release(AudienceId{1});  // behind a newer one
  rig_.shard.leave(one, AudienceId{2});
  for (std::uint64_t i = 7; rig_.log.evicted() == 0; ++i) append(2, i, 50);
  ASSERT_LE(rig_.log.evicted(), 6u) << "the newer message could stay";
  client_->stream.room = SimulatedStream::no_limit;
  rig_.client(1).on_writable();
  EXPECT_EQ(output(), "!2 6 6\n!1 1 1\n");
}

TEST_F(BufferedJoin, OnRepliesDrainedIsCalledOnceWhenMostRepliesAreWritten) {
  client_->stream.room = 0;
  rig_.client(1).reply(std::string(100'000, 'a'));
  rig_.client(1).notify_when_drained();
  rig_.flush();
  EXPECT_EQ(client_->drained, 0);
  client_->stream.room = 80'000;
  rig_.client(1).on_writable();
  rig_.flush();
  EXPECT_EQ(client_->drained, 0);
  client_->stream.room = 10'000;
  rig_.client(1).on_writable();
  rig_.flush();
  EXPECT_EQ(client_->drained, 1);
  client_->stream.room = SimulatedStream::no_limit;
  rig_.client(1).on_writable();
  rig_.flush();
  EXPECT_EQ(client_->drained, 1);
}

TEST_F(BufferedJoin, ALongReplyIsMadeInSlicesAsFastAsTheClientReads) {
  int slices = 0;
  std::size_t most_queued = 0;
  client_->on_replies_drained = [&](Client& client) {
    if (++slices > 50) return;
    client.reply(std::string(100'000, 'a'));
    most_queued = std::max(most_queued, client.backlog().reply_bytes());
    client.notify_when_drained();
  };
  client_->stream.room = 0;
  rig_.client(1).notify_when_drained();
  for (int i = 0; i < 1000 && slices <= 50; ++i) {
    client_->stream.room = 30'000;
    rig_.client(1).on_writable();
    rig_.flush();
  }
  EXPECT_EQ(slices, 51);
  EXPECT_LE(most_queued, 120'000u);
  EXPECT_EQ(client_->stream.output.size(), 5'000'000u);
}

TEST_F(BufferedJoin, LateMessagesThatTheReplayContainedAreSkipped) {
  join(all);
  release(all, up_to(10));
  rig_.append_at(1, 1, stream, 12);  // the log has passed the replay; only late messages can be in it
  rig_.read_log();
  rig_.append_at(2, 1, stream, 7);
  rig_.append_at(2, 2, stream, 11);
  rig_.append_at(1, 2, stream, 13);
  rig_.append_at(2, 3, stream, 9);
  rig_.read_log();
  EXPECT_EQ(output(), "1 1 \n2 2 \n1 2 \n");
  EXPECT_EQ(ledger().skipped, 2u);
  rig_.shard.advance_low_watermark(stream, 10);  // none of its messages can arrive any more: the skip ends
  rig_.append_at(2, 4, stream, 8);
  rig_.read_log();
  EXPECT_TRUE(output().ends_with("2 4 \n"));
}

}  // namespace
}  // namespace backplane::fanout
