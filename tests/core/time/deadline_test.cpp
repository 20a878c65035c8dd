#include "core/time/deadline.hpp"

#include <gtest/gtest.h>

namespace backplane {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using Point = Clock::time_point;

constexpr Point now{1000h};

TEST(Deadline, ReturnsTheTimeLeft) {
  EXPECT_EQ(time_left(now + 7ms, now), 7ms);
  EXPECT_EQ(time_left(now, now), 0ns);
}

TEST(Deadline, IsNeverNegative) {
  EXPECT_EQ(time_left(now - 1ns, now), 0ns);
  EXPECT_EQ(time_left(Point::min(), now), 0ns);
  EXPECT_EQ(time_left(Point::min(), Point{1ns}), 0ns);
}

TEST(Deadline, IsBoundedByAnHourOrByTheGivenLimit) {
  EXPECT_EQ(time_left(Point::max(), now), 1h);
  EXPECT_EQ(time_left(now + 1h, now), 1h);
  EXPECT_EQ(time_left(Point::max(), now, 1min), 1min);
  EXPECT_EQ(time_left(Point::max(), Point{-1000h}), 1h);
}

TEST(Deadline, RoundsUpForPoll) {
  EXPECT_EQ(poll_timeout(now + 1ns, now), 1);
  EXPECT_EQ(poll_timeout(now + 2ms, now), 2);
  EXPECT_EQ(poll_timeout(Point::min(), now), 0);
  EXPECT_EQ(poll_timeout(Point::max(), now, 2s), 2000);
}

TEST(Deadline, BecomesATimespec) {
  EXPECT_EQ(as_timespec(2500ms).tv_sec, 2);
  EXPECT_EQ(as_timespec(2500ms).tv_nsec, 500'000'000);
  EXPECT_EQ(as_timespec(0ns).tv_sec, 0);
  EXPECT_EQ(as_timespec(999'999'999ns).tv_nsec, 999'999'999);
}

}  // namespace
}  // namespace backplane
