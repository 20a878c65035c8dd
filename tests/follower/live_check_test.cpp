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
  check.on_connected(now);
  EXPECT_EQ(check.step(now)->subscribe, nonce(1));
  const auto confirmation = check.on_reply(nonce(1));
  ASSERT_TRUE(confirmation);
  EXPECT_TRUE(confirmation->first);
  EXPECT_EQ(check.step(now)->unsubscribe, nonce(1)) << "a nonce is unsubscribed after its reply";
  EXPECT_FALSE(check.step(now));
}

TEST_F(LiveCheckTest, SubscriptionsMadeWhileANonceIsPendingWaitForTheNext) {
  check.on_connected(now);
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
  check.on_connected(now);
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
  check.on_connected(now);
  (void)check.step(now);
  check.on_disconnected();
  EXPECT_FALSE(check.on_reply(nonce(1)));
  EXPECT_EQ(check.step(now)->unsubscribe, nonce(1));
  check.on_connected(now);
  EXPECT_FALSE(check.on_reply(nonce(1)));
  EXPECT_EQ(check.step(now)->subscribe, nonce(2));
  EXPECT_TRUE(check.on_reply(nonce(2))->first);
}

TEST_F(LiveCheckTest, AReplyCountsOnce) {
  check.on_connected(now);
  (void)check.step(now);
  EXPECT_TRUE(check.on_reply(nonce(1)));
  EXPECT_FALSE(check.on_reply(nonce(1)));
}

class ConfirmedConnection : public LiveCheckTest {
 protected:
  ConfirmedConnection() {
    check.on_connected(now);
    (void)check.step(now);
    (void)check.on_reply(nonce(1));
    (void)check.step(now);
  }
};

TEST_F(ConfirmedConnection, IsCheckedAfterSilence) {
  EXPECT_EQ(check.next_deadline(), now + LiveCheck::silence_max);
  EXPECT_FALSE(check.step(now + LiveCheck::silence_max - 1ms));
  now += 1s;
  check.on_received(now);
  EXPECT_FALSE(check.step(now + LiveCheck::silence_max - 1ms));
  now += LiveCheck::silence_max;
  EXPECT_EQ(check.step(now)->subscribe, nonce(2));
  const auto confirmation = check.on_reply(nonce(2));
  ASSERT_TRUE(confirmation);
  EXPECT_FALSE(confirmation->first);
  EXPECT_FALSE(check.is_dead(now + 1h));
}

TEST_F(ConfirmedConnection, IsDeadIfItStaysSilentAfterANonce) {
  now += LiveCheck::silence_max;
  const auto checked_at = now;
  for (; now < checked_at + LiveCheck::patience; now += 1000ms) {
    EXPECT_TRUE(check.step(now)) << "a nonce is repeated";
    EXPECT_FALSE(check.is_dead(now));
    EXPECT_LE(check.next_deadline(), checked_at + LiveCheck::patience);
  }
  EXPECT_TRUE(check.is_dead(now));
  check.on_disconnected();
  EXPECT_FALSE(check.is_dead(now));
  check.on_connected(now);
  EXPECT_TRUE(check.step(now));
  EXPECT_FALSE(check.is_dead(now + LiveCheck::patience - 1ms)) << "the new one has its own time";
  EXPECT_TRUE(check.is_dead(now + LiveCheck::patience)) << "if it is silent from the beginning";
}

TEST_F(ConfirmedConnection, IsNotDeadWhileEventsArrive) {
  check.require(1);
  (void)check.step(now);
  for (int second = 0; second < 60; ++second) {
    now += 1s;
    check.on_received(now);
    (void)check.step(now);
    EXPECT_FALSE(check.is_dead(now));
  }
}

TEST_F(ConfirmedConnection, IsNotDeadIfNobodyLookedForLong) {
  now += 1h;
  EXPECT_FALSE(check.is_dead(now));
  EXPECT_TRUE(check.step(now));
  EXPECT_FALSE(check.is_dead(now));
}

}  // namespace
}  // namespace backplane::follower
