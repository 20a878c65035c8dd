#include "gateway/request_pace.hpp"

#include <gtest/gtest.h>

namespace backplane::gateway {
namespace {

using namespace std::chrono_literals;

class RequestPaceTest : public ::testing::Test {
 protected:
  /// Executes requests for `time`.
  void spend(RequestPace::Clock::duration time, bool congested = false) {
    static_cast<void>(pace_.begin(now_));
    now_ += time;
    pace_.end(now_, congested);
  }
  RequestPace pace_{1ms};
  RequestPace::Clock::time_point now_{1h};
};

TEST_F(RequestPaceTest, FewRequestsAreExecutedAtOnce) {
  for (int i = 0; i < 100; ++i) {
    EXPECT_LE(pace_.ready_at(), now_);
    EXPECT_GE(pace_.begin(now_), now_ + 500us);
    spend(10us);
    now_ += 20us;
  }
}

TEST_F(RequestPaceTest, AFloodGetsHalfOfTheTime) {
  RequestPace::Clock::duration spent{};
  const auto began = now_;
  while (now_ - began < 1s) {
    now_ = std::max(now_, pace_.ready_at());
    const auto until = pace_.begin(now_);
    EXPECT_LE(until - now_, 1ms);
    // It looks at the clock now and then only, and others want the thread, too.
    spent += until - now_ + 50us;
    spend(until - now_ + 50us);
    now_ += 30us;
  }
  EXPECT_LE(spent, 550ms);
  EXPECT_GE(spent, 400ms);
}

TEST_F(RequestPaceTest, AFloodInSmallPortionsGetsHalfOfTheTime) {
  RequestPace::Clock::duration spent{};
  const auto began = now_;
  while (now_ - began < 1s) {
    now_ = std::max(now_, pace_.ready_at());
    spent += 100us;
    spend(100us);
    now_ += 10us;
  }
  EXPECT_LE(spent, 600ms);
}

TEST_F(RequestPaceTest, WhatFollowsGetsTimeIfItIsBehind) {
  spend(10us, /*congested=*/true);
  EXPECT_EQ(pace_.ready_at(), now_ + 1ms);
}

}  // namespace
}  // namespace backplane::gateway
