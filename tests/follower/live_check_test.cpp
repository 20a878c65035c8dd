#include "follower/connection/live_check.hpp"

#include <gtest/gtest.h>

namespace backplane::follower {
namespace {

using namespace std::chrono_literals;

class LiveChecking : public ::testing::Test {
 protected:
  LiveCheck check{1000ms, [this] { return ++nonces; }};
  std::uint64_t nonces{};
  LiveCheck::Clock::time_point now{std::chrono::hours{1}};

  static std::string nonce(int number) { return "$SYS.live.000000000000000" + std::to_string(number); }
};

TEST_F(LiveChecking, AsksNothingWithoutAConnection) {
  check.want(1);
  EXPECT_FALSE(check.step(now));
  EXPECT_EQ(check.next_deadline(), LiveCheck::Clock::time_point::max());
}

TEST_F(LiveChecking, ANewConnectionIsProvenEvenWithoutSubscriptions) {
  check.connected();
  EXPECT_EQ(check.step(now)->take, nonce(1));
  const auto proof = check.answered(nonce(1));
  ASSERT_TRUE(proof);
  EXPECT_TRUE(proof->first);
  EXPECT_EQ(check.step(now)->drop, nonce(1)) << "an answered nonce is unsubscribed";
  EXPECT_FALSE(check.step(now));
}

TEST_F(LiveChecking, SubscriptionsMadeWhileANonceIsOutWaitForTheNext) {
  check.connected();
  check.want(1);
  EXPECT_EQ(check.step(now)->take, nonce(1));
  check.want(2);
  check.want(3);
  EXPECT_FALSE(check.step(now)) << "one nonce at a time";
  EXPECT_EQ(check.answered(nonce(1))->ticket, 1u);
  EXPECT_EQ(check.step(now)->take, nonce(2));
  const auto proof = check.answered(nonce(2));
  EXPECT_EQ(proof->ticket, 3u);
  EXPECT_FALSE(proof->first);
}

TEST_F(LiveChecking, SilenceBringsAnotherNonceAndTheOldOnesAnswerNoLongerCounts) {
  check.connected();
  (void)check.step(now);
  EXPECT_FALSE(check.step(now + 999ms));
  EXPECT_EQ(check.next_deadline(), now + 1000ms);
  const auto step = check.step(now + 1000ms);
  ASSERT_TRUE(step);
  EXPECT_EQ(step->drop, nonce(1));
  EXPECT_EQ(step->take, nonce(2));
  EXPECT_FALSE(check.answered(nonce(1)));
  EXPECT_TRUE(check.answered(nonce(2)));
}

TEST_F(LiveChecking, AnAnswerFromBeforeTheReconnectDoesNotCount) {
  check.connected();
  (void)check.step(now);
  check.disconnected();
  EXPECT_FALSE(check.answered(nonce(1)));
  EXPECT_EQ(check.step(now)->drop, nonce(1));
  check.connected();
  EXPECT_FALSE(check.answered(nonce(1)));
  EXPECT_EQ(check.step(now)->take, nonce(2));
  EXPECT_TRUE(check.answered(nonce(2))->first);
}

TEST_F(LiveChecking, AnAnswerCountsOnce) {
  check.connected();
  (void)check.step(now);
  EXPECT_TRUE(check.answered(nonce(1)));
  EXPECT_FALSE(check.answered(nonce(1)));
}

}  // namespace
}  // namespace backplane::follower
