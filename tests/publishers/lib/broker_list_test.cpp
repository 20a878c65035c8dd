#include "publishers/lib/broker_list.hpp"

#include <gtest/gtest.h>

namespace backplane::publishing {
namespace {

using namespace std::chrono_literals;
using Loss = BrokerList::Loss;

struct BrokerListTest : ::testing::Test {
  BrokerList::Clock::time_point now = BrokerList::Clock::now();
};

TEST_F(BrokerListTest, BrokersThatRefuseAreTriedInOrderAndWithoutAPauseUntilAllHaveRefused) {
  BrokerList list(3);
  for (std::size_t expected : {1U, 2U}) {
    list.on_failed(Loss::disconnected, now);
    EXPECT_EQ(list.current(), expected);
    EXPECT_LE(list.retry_at(), now);
  }
  list.on_failed(Loss::disconnected, now);
  EXPECT_EQ(list.current(), 0U);
  EXPECT_GT(list.retry_at(), now);
  EXPECT_LE(list.retry_at(), now + 1s);
}

TEST_F(BrokerListTest, AfterALostConnectionTheFirstBrokerIsTriedAgain) {
  BrokerList list(2);
  list.on_connected(1ms);
  list.on_lost(Loss::disconnected, now);
  EXPECT_EQ(list.current(), 0U);
  EXPECT_LE(list.retry_at(), now);
  list.on_connected(1ms);
  list.on_lost(Loss::disconnected, now + 1s);
  EXPECT_EQ(list.current(), 1U) << "it was lost twice within a short time";
  list.on_connected(1ms);
  list.on_lost(Loss::disconnected, now + 2s);
  EXPECT_EQ(list.current(), 0U);
  list.on_connected(1ms);
  list.on_lost(Loss::disconnected, now + 60s);
  EXPECT_EQ(list.current(), 0U);
}

TEST_F(BrokerListTest, AfterASilentBrokerTheNextIsTried) {
  BrokerList list(2);
  list.on_connected(1ms);
  list.on_lost(Loss::unusable, now);
  EXPECT_EQ(list.current(), 1U);
}

TEST_F(BrokerListTest, IfAllBrokersAreSlowTheyGetMoreTime) {
  BrokerList list(2);
  const auto first = list.patience();
  EXPECT_LT(first, 1s);
  for (int i = 0; i < 4; ++i) list.on_failed(Loss::unusable, now);
  const auto more = list.patience();
  EXPECT_GT(more, 2 * first);
  list.on_connected(2s);
  EXPECT_EQ(list.patience(), more);
  list.on_lost(Loss::disconnected, now);
  EXPECT_EQ(list.patience(), first);
  for (int i = 0; i < 100; ++i) list.on_failed(Loss::disconnected, now);
  EXPECT_EQ(list.patience(), first) << "a broker that refuses is not slow";
}

TEST_F(BrokerListTest, ASingleBrokerIsRetriedWithGrowingPauses) {
  BrokerList list(1);
  EXPECT_EQ(list.patience(), 5s);
  auto before = 0ns;
  for (int i = 0; i < 10; ++i) {
    list.on_failed(Loss::disconnected, now);
    EXPECT_EQ(list.current(), 0U);
    EXPECT_GE(list.retry_at() - now, before);
    before = list.retry_at() - now;
  }
  EXPECT_EQ(before, 1s);
}

}  // namespace
}  // namespace backplane::publishing
