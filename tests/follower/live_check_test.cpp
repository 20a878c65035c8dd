#include "follower/connection/live_check.hpp"

#include <gtest/gtest.h>

namespace backplane::follower {
namespace {

using namespace std::chrono_literals;

class LiveCheckTest : public ::testing::Test {
 protected:
  LiveCheck check{1000ms, [this] { return ++nonces; }};
  std::uint64_t nonces{};
  LiveCheck::Clock::time_point now{std::chrono::hours{1}};

  static std::string nonce(int number) { return "$SYS.live.000000000000000" + std::to_string(number); }
};

TEST_F(LiveCheckTest, SendsNoNonceWithoutAConnection) {
  check.require(1);
  EXPECT_FALSE(check.step(now));
  EXPECT_EQ(check.next_deadline(), LiveCheck::Clock::time_point::max());
}

TEST_F(LiveCheckTest, ANewConnectionIsConfirmedEvenWithoutSubscriptions) {
  check.on_connected();
  EXPECT_EQ(check.step(now)->subscribe, nonce(1));
  const auto confirmation = check.on_reply(nonce(1));
  ASSERT_TRUE(confirmation);
  EXPECT_TRUE(confirmation->first);
  EXPECT_EQ(check.step(now)->unsubscribe, nonce(1)) << "a nonce is unsubscribed after its reply";
  EXPECT_FALSE(check.step(now));
}

TEST_F(LiveCheckTest, SubscriptionsMadeWhileANonceIsPendingWaitForTheNext) {
  check.on_connected();
  check.require(1);
  EXPECT_EQ(check.step(now)->subscribe, nonce(1));
  check.require(2);
  check.require(3);
  EXPECT_FALSE(check.step(now)) << "one nonce at a time";
  EXPECT_EQ(check.on_reply(nonce(1))->ticket, 1u);
  EXPECT_EQ(check.step(now)->subscribe, nonce(2));
  const auto confirmation = check.on_reply(nonce(2));
  EXPECT_EQ(confirmation->ticket, 3u);
  EXPECT_FALSE(confirmation->first);
}

TEST_F(LiveCheckTest, AfterATimeoutOnlyTheReplyToANewNonceCounts) {
  check.on_connected();
  (void)check.step(now);
  EXPECT_FALSE(check.step(now + 999ms));
  EXPECT_EQ(check.next_deadline(), now + 1000ms);
  const auto step = check.step(now + 1000ms);
  ASSERT_TRUE(step);
  EXPECT_EQ(step->unsubscribe, nonce(1));
  EXPECT_EQ(step->subscribe, nonce(2));
  EXPECT_FALSE(check.on_reply(nonce(1)));
  EXPECT_TRUE(check.on_reply(nonce(2)));
}

TEST_F(LiveCheckTest, AReplyFromBeforeAReconnectDoesNotCount) {
  check.on_connected();
  (void)check.step(now);
  check.on_disconnected();
  EXPECT_FALSE(check.on_reply(nonce(1)));
  EXPECT_EQ(check.step(now)->unsubscribe, nonce(1));
  check.on_connected();
  EXPECT_FALSE(check.on_reply(nonce(1)));
  EXPECT_EQ(check.step(now)->subscribe, nonce(2));
  EXPECT_TRUE(check.on_reply(nonce(2))->first);
}

TEST_F(LiveCheckTest, AReplyCountsOnce) {
  check.on_connected();
  (void)check.step(now);
  EXPECT_TRUE(check.on_reply(nonce(1)));
  EXPECT_FALSE(check.on_reply(nonce(1)));
}

}  // namespace
}  // namespace backplane::follower
