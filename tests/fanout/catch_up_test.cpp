// A client that catches up, without a client: only the log, and what a CatchUp uses of its shard.
#include "fanout/catch_up.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace backplane::fanout {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr StreamId stream{0};
constexpr AudienceId both{9};
constexpr std::size_t bytes_max = 2000;

/// Topics 1 and 2 have a route and an audience each; audience `both` gets either.
class CatchUpTest : public ::testing::Test {
 protected:
  struct Message {
    Segment* segment{};
    std::uint32_t index{};
  };

  CatchUpTest() {
    for (const std::uint32_t topic : {1u, 2u}) routes_.set(RouteId{topic}, {AudienceId{topic}, both});
    catch_up_.emplace(context_);
  }
  ~CatchUpTest() override {
    catch_up_.reset();
    EXPECT_EQ(ledger_.pending, 0u);
  }

  /// Appends the stream's next message and reads it, as a run of its own.
  Message next(std::uint32_t topic, std::size_t size = 1) { return message(topic, ++position_, size); }
  Message message(std::uint32_t topic, std::uint64_t position, std::size_t size = 1) {
    Message message;
    log_.append(std::string(size, 'x'), {TopicId{topic}, RouteId{topic}, position, stream, position});
    log_.publish();
    reader_.read_until(log_.published(),
                       [&](Segment& segment, std::uint32_t first, std::uint32_t, std::uint32_t) {
                         message = {&segment, first};
                       });
    late_ = progress_.note(stream, position);
    return message;
  }
  /// Offers it through the audience, which is active.
  bool admit(const Message& message, AudienceId via, bool throttled = false) {
    collect(catch_up_->begin_run(*message.segment, message.index));
    return catch_up_->admit(*message.segment, message.index, via, throttled);
  }
  /// Offers it through the audience, which is buffering.
  void buffer(const Message& message, AudienceId audience, bool claimed = false) {
    collect(catch_up_->begin_run(*message.segment, message.index));
    catch_up_->buffer(audience, *message.segment, message.index, message.index + 1, claimed);
  }
  /// Positions of what need not wait any longer, all so far.
  const std::vector<std::uint64_t>& collect(const std::vector<CatchUp::Ready>& ready) {
    for (const CatchUp::Ready& each : ready) {
      ready_.push_back(each.segment->position(each.index));
      reader_.unpin(*each.segment);
    }
    return ready_;
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

  Log log_{{.segment_bytes = 4000, .segment_messages = 4}, 1};
  LogReader reader_{log_, 0};
  Routes routes_;
  StreamProgress progress_;
  DeliveryLedger ledger_;
  Counter join_buffers_full_;
  const CatchUp::Context context_{reader_, routes_, progress_, ledger_, join_buffers_full_, bytes_max};
  std::optional<CatchUp> catch_up_;
  std::uint64_t position_{};
  bool late_{};
  std::vector<std::uint64_t> ready_;
};

TEST_F(CatchUpTest, MessagesOfABufferingAudienceWaitUntilItsRelease) {
  catch_up_->begin(both);
  EXPECT_TRUE(catch_up_->is_buffering(both));
  EXPECT_TRUE(catch_up_->filters());
  for (const std::uint32_t topic : {1u, 2u, 1u}) buffer(next(topic), both);
  EXPECT_THAT(ready_, IsEmpty());
  EXPECT_EQ(ledger_.matched, 3u);
  EXPECT_EQ(ledger_.pending, 3u);
  EXPECT_THAT(collect(catch_up_->release(both, false, nullptr)), ElementsAre(1, 2, 3));
  EXPECT_EQ(ledger_.pending, 0u);
  EXPECT_FALSE(catch_up_->is_buffering(both));
  EXPECT_TRUE(catch_up_->done());
}

TEST_F(CatchUpTest, ReleaseReturnsMessagesAsTheAudienceWouldSendThem) {
  catch_up_->begin(AudienceId{1});
  buffer(next(1), AudienceId{1});
  const auto ready = catch_up_->release(AudienceId{1}, true, nullptr);
  ASSERT_EQ(ready.size(), 1u);
  EXPECT_EQ(ready[0].via, AudienceId{1});
  EXPECT_TRUE(ready[0].throttled);
  collect(ready);
}

TEST_F(CatchUpTest, ReleaseSkipsWhatTheReplayContained) {
  catch_up_->begin(both);
  for (const std::uint32_t topic : {1u, 2u, 1u, 2u}) buffer(next(topic), both);
  EXPECT_THAT(collect(catch_up_->release(both, false, up_to(3))), ElementsAre(4));
  EXPECT_EQ(ledger_.skipped, 3u);
  EXPECT_EQ(ledger_.pending, 0u);
}

TEST_F(CatchUpTest, AReplayThatRanAheadOfTheLogSkipsMessagesUntilTheLogHasPassedIt) {
  catch_up_->begin(AudienceId{1});
  EXPECT_THAT(collect(catch_up_->release(AudienceId{1}, false, up_to(2))), IsEmpty());
  EXPECT_TRUE(catch_up_->has_skips());
  EXPECT_TRUE(catch_up_->filters());
  EXPECT_FALSE(admit(next(1), AudienceId{1}));
  catch_up_->end_skips();
  EXPECT_TRUE(catch_up_->has_skips()) << "the log has not passed it yet";
  EXPECT_FALSE(admit(next(1), AudienceId{1}));
  EXPECT_TRUE(admit(next(1), AudienceId{1}));
  EXPECT_EQ(ledger_.skipped, 2u);
  catch_up_->end_skips();
  EXPECT_FALSE(catch_up_->has_skips());
  EXPECT_FALSE(catch_up_->filters());
}

TEST_F(CatchUpTest, ATopicsSkipAppliesThroughAnyAudienceAndAStreamsSkipThroughItsOwn) {
  for (const AudienceId audience : {AudienceId{1}, AudienceId{2}}) catch_up_->begin(audience);
  collect(catch_up_->release(AudienceId{1}, false, up_to(TopicId{1}, 9)));
  collect(catch_up_->release(AudienceId{2}, false, up_to(9)));
  EXPECT_FALSE(admit(next(1), both)) << "of the topic";
  EXPECT_FALSE(admit(next(2), both)) << "audience 2 gets it as well";
  catch_up_->begin(both);
  collect(catch_up_->leave(AudienceId{1}));
  EXPECT_TRUE(admit(next(1), both)) << "audience 2 does not get it";
}

TEST_F(CatchUpTest, OnceTheLogHasPassedASkipOnlyLateMessagesAreSkipped) {
  catch_up_->begin(both);
  collect(catch_up_->release(both, false, up_to(5)));
  (void)message(1, 6);
  catch_up_->end_skips();
  EXPECT_TRUE(catch_up_->has_past_skips());
  EXPECT_FALSE(catch_up_->done());
  const Message late = message(2, 4);
  EXPECT_TRUE(late_);
  EXPECT_TRUE(catch_up_->skips_late(*late.segment, late.index));
  const Message later = message(2, 7);
  EXPECT_FALSE(catch_up_->skips_late(*later.segment, later.index));
}

TEST_F(CatchUpTest, NothingIsSkippedOnceTheLowWatermarkHasPassedTheSkip) {
  catch_up_->begin(both);
  collect(catch_up_->release(both, false, up_to(5)));
  (void)message(1, 6);
  progress_.set_low_watermark(stream, 4);
  catch_up_->end_skips();
  EXPECT_TRUE(catch_up_->has_past_skips());
  progress_.set_low_watermark(stream, 5);
  catch_up_->end_skips();
  EXPECT_FALSE(catch_up_->has_past_skips());
  EXPECT_TRUE(catch_up_->done());
}

TEST_F(CatchUpTest, ASkipThatTheLogHasPassedAppliesToLateMessagesFromTheBeginning) {
  catch_up_->begin(AudienceId{1});
  (void)message(2, 5);
  collect(catch_up_->release(AudienceId{1}, false, up_to(5)));
  EXPECT_FALSE(catch_up_->has_skips());
  EXPECT_TRUE(catch_up_->has_past_skips());
}

TEST_F(CatchUpTest, AMessageWaitsBehindABufferedOneOfItsTopic) {
  catch_up_->begin(both);
  buffer(next(1), both);
  EXPECT_FALSE(admit(next(1), AudienceId{1})) << "it would overtake";
  EXPECT_TRUE(admit(next(2), AudienceId{2})) << "of another topic";
  EXPECT_THAT(collect(catch_up_->release(both, false, nullptr)), ElementsAre(1, 2));
}

TEST_F(CatchUpTest, AMessageOfTwoBufferingAudiencesIsReturnedOnce) {
  for (const AudienceId audience : {AudienceId{1}, both}) catch_up_->begin(audience);
  const Message message = next(1);
  buffer(message, AudienceId{1});
  buffer(message, both);
  EXPECT_EQ(ledger_.matched, 1u);
  EXPECT_THAT(collect(catch_up_->release(AudienceId{1}, false, nullptr)), ElementsAre(1));
  EXPECT_THAT(collect(catch_up_->release(both, false, nullptr)), ElementsAre(1));
}

TEST_F(CatchUpTest, AMessageThatTheClientHasClaimedIsNotBuffered) {
  catch_up_->begin(both);
  const Message message = next(1);
  EXPECT_TRUE(admit(message, AudienceId{1}));
  buffer(message, both, true);
  EXPECT_THAT(collect(catch_up_->release(both, false, nullptr)), IsEmpty());
  EXPECT_EQ(ledger_.matched, 0u);
}

TEST_F(CatchUpTest, LeavingAnAudienceDiscardsItsMessagesAndReturnsThoseThatWaitedBehindThem) {
  catch_up_->begin(both);
  buffer(next(1), both);
  EXPECT_FALSE(admit(next(1), AudienceId{1}));
  EXPECT_THAT(collect(catch_up_->leave(both)), ElementsAre(2));
  EXPECT_EQ(ledger_.unsubscribed, 1u);
  EXPECT_TRUE(catch_up_->done());
}

TEST_F(CatchUpTest, LeavingAnAudienceEndsItsSkips) {
  for (const AudienceId audience : {AudienceId{1}, AudienceId{2}}) catch_up_->begin(audience);
  collect(catch_up_->release(AudienceId{1}, false, up_to(3)));
  (void)message(1, 3);
  catch_up_->end_skips();
  collect(catch_up_->release(AudienceId{2}, false, up_to(9)));
  EXPECT_TRUE(catch_up_->has_skips());
  EXPECT_TRUE(catch_up_->has_past_skips());
  collect(catch_up_->leave(AudienceId{1}));
  EXPECT_FALSE(catch_up_->has_past_skips());
  collect(catch_up_->leave(AudienceId{2}));
  EXPECT_FALSE(catch_up_->has_skips());
}

TEST_F(CatchUpTest, AboveTheLimitTheLargestJoinBufferIsDiscardedAndReportedOnce) {
  for (const AudienceId audience : {AudienceId{1}, AudienceId{2}}) catch_up_->begin(audience);
  buffer(next(2), AudienceId{2});
  buffer(next(1, bytes_max), AudienceId{1});
  EXPECT_FALSE(catch_up_->has_full()) << "only between two runs";
  buffer(next(2), AudienceId{2});
  EXPECT_TRUE(catch_up_->has_full());
  EXPECT_FALSE(catch_up_->is_buffering(AudienceId{1}));
  EXPECT_EQ(join_buffers_full_.get(), 1u);
  EXPECT_EQ(ledger_.join_buffer_full, 1u);
  EXPECT_THAT(catch_up_->take_full(), ElementsAre(AudienceId{1}));
  EXPECT_FALSE(catch_up_->has_full());
  EXPECT_THAT(collect(catch_up_->release(AudienceId{2}, false, nullptr)), ElementsAre(1, 3));
}

TEST_F(CatchUpTest, DiscardingAJoinBufferReturnsMessagesThatWaitedBehindIt) {
  catch_up_->begin(both);
  buffer(next(1), both);
  EXPECT_FALSE(admit(next(1), AudienceId{1}));
  buffer(next(2, bytes_max), both);
  EXPECT_THAT(ready_, IsEmpty());
  EXPECT_THAT(collect(catch_up_->discard_over_limit()), ElementsAre(2));
  EXPECT_EQ(ledger_.join_buffer_full, 2u);
  EXPECT_THAT(catch_up_->take_full(), ElementsAre(both));
  EXPECT_TRUE(catch_up_->done());
}

TEST_F(CatchUpTest, LeavingAnAudienceEndsTheReportThatItsJoinBufferIsFull) {
  catch_up_->begin(both);
  buffer(next(1, bytes_max), both);
  collect(catch_up_->discard_over_limit());
  EXPECT_FALSE(catch_up_->done()) << "the handler has not been notified";
  collect(catch_up_->leave(both));
  EXPECT_THAT(catch_up_->take_full(), IsEmpty());
  EXPECT_TRUE(catch_up_->done());
}

TEST_F(CatchUpTest, JoinBuffersThatPinEvictedMessagesAreDiscarded) {
  for (const AudienceId audience : {AudienceId{1}, AudienceId{2}}) catch_up_->begin(audience);
  buffer(next(1), AudienceId{1});
  buffer(next(2), AudienceId{2});  // the log's message 1
  EXPECT_THAT(collect(catch_up_->discard_before(1)), IsEmpty());
  EXPECT_THAT(catch_up_->take_full(), ElementsAre(AudienceId{1}));
  EXPECT_TRUE(catch_up_->is_buffering(AudienceId{2}));
  EXPECT_EQ(ledger_.join_buffer_full, 1u);
}

TEST_F(CatchUpTest, BufferedMessagesAreUnpinnedAndCountedWhenItIsDestroyed) {
  catch_up_->begin(both);
  for (int i = 0; i < 20; ++i) buffer(next(1), both);
  EXPECT_GE(log_.bytes_in_use(), 5 * 4000u);
  catch_up_.reset();
  EXPECT_EQ(ledger_.client_gone, 20u);
  EXPECT_EQ(ledger_.pending, 0u);
  for (int i = 0; i < 5; ++i) (void)next(1);
  EXPECT_LE(log_.bytes_in_use(), 2 * 4000u);
}

}  // namespace
}  // namespace backplane::fanout
