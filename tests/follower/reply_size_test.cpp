#include "follower/control/reply_size.hpp"

#include <algorithm>

#include <gtest/gtest.h>

namespace backplane::follower {
namespace {

using namespace std::chrono_literals;

/// A path with a latency and a rate, over which replies are requested one after another.
class ReplySizeTest : public ::testing::Test {
 protected:
  using Clock = ReplySize::Clock;

  /// Requests a reply of which the broker has `available` bytes. @returns how long it took.
  Clock::duration request(std::size_t available = ReplySize::most) {
    requested = size.next(now);
    const std::size_t bytes = std::min(requested, available);
    const auto took = latency + std::chrono::duration_cast<Clock::duration>(
                                    std::chrono::duration<double>(static_cast<double>(bytes) / bytes_per_s));
    now += took;
    size.on_reply({requested, bytes, took, true}, now);
    return took;
  }

  ReplySize size;
  Clock::time_point now = Clock::time_point{} + 1h;
  Clock::duration latency = 1ms;
  double bytes_per_s = 100e6;
  std::size_t requested{};
};

TEST_F(ReplySizeTest, GrowsToTheLargestSizeOnAFastPath) {
  EXPECT_EQ(size.next(now), ReplySize::first);
  for (int i = 0; i < 6; ++i) request();
  EXPECT_EQ(size.next(now), ReplySize::most);
}

TEST_F(ReplySizeTest, KeepsRepliesShortOnASlowPath) {
  for (const double rate : {2e3, 10e3, 50e3, 300e3}) {
    size.reset();
    bytes_per_s = rate;
    request(100);  // shows the latency
    for (int i = 0; i < 50; ++i) {
      const auto took = request();
      if (i > 0 && requested > ReplySize::least) {
        EXPECT_LT(took, 1500ms) << rate << " bytes/s, " << requested;
      }
    }
    EXPECT_GE(requested, std::min<std::size_t>(ReplySize::most, static_cast<std::size_t>(rate / 16)));
  }
}

TEST_F(ReplySizeTest, KeepsRepliesShortWithoutHavingSeenTheLatency) {
  bytes_per_s = 10e3;
  for (int i = 0; i < 100; ++i) EXPECT_LT(request(), 2s);
}

TEST_F(ReplySizeTest, GrowsOnAFastPathWithAHighLatency) {
  latency = 600ms;
  for (int i = 0; i < 6; ++i) request();
  EXPECT_EQ(size.next(now), ReplySize::most);
}

TEST_F(ReplySizeTest, ShrinksAtOnceIfThePathBecomesSlow) {
  for (int i = 0; i < 10; ++i) request();
  ASSERT_EQ(size.next(now), ReplySize::most);
  bytes_per_s = 20e3;
  request(60'000);  // less than requested, but slow
  EXPECT_LE(size.next(now), 8u << 10);
}

TEST_F(ReplySizeTest, DoesNotGrowByRepliesThatAreNotFull) {
  for (int i = 0; i < 10; ++i) request(1500);
  EXPECT_EQ(size.next(now), ReplySize::first);
}

TEST_F(ReplySizeTest, BeginsSmallAgainAfterAPause) {
  for (int i = 0; i < 10; ++i) request();
  now += ReplySize::valid;
  EXPECT_EQ(size.next(now), ReplySize::most);
  now += 1ms;
  EXPECT_EQ(size.next(now), ReplySize::first);
}

TEST_F(ReplySizeTest, ALargeEventThatTravelsAloneShrinksTheNextReply) {
  bytes_per_s = 20e3;
  request(100);
  requested = size.next(now);
  now += 5s;
  size.on_reply({requested, 100'000, 5s, true}, now);
  EXPECT_LE(size.next(now), 8u << 10);
  EXPECT_GE(size.next(now), ReplySize::least);
}

TEST_F(ReplySizeTest, RepliesThatFollowOneAnotherAreMeasuredFromTheOneBefore) {
  for (int i = 0; i < 4; ++i) {
    now += 800ms;
    size.on_reply({ReplySize::first, 8'000, 800ms, false}, now);
  }
  EXPECT_LE(size.next(now), 2'500u);
}

}  // namespace
}  // namespace backplane::follower
