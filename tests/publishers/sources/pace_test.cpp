#include "publishers/sources/pace.hpp"

#include <random>

#include <gmock/gmock.h>
#include <poll.h>

namespace backplane::sources {
namespace {

using namespace std::chrono_literals;

constexpr std::int64_t second_ns = 1'000'000'000;

TEST(Pace, TenThousandLateTicksStayAligned) {
  std::mt19937_64 random(3);
  std::int64_t now_ns = 1'700'000'000 * second_ns + 123'456'789;
  std::int64_t last_ns = 0;
  for (int i = 0; i < 10'000; ++i) {
    const std::int64_t due_ns = next_tick(now_ns, 250ms);
    ASSERT_EQ(due_ns % 250'000'000, 0);
    ASSERT_GT(due_ns, now_ns);
    if (last_ns != 0) {
      ASSERT_EQ(due_ns - last_ns, 250'000'000) << "tick " << i;
    }
    last_ns = due_ns;
    now_ns =
        due_ns + static_cast<std::int64_t>(random() % 249'999'999);  // noticed late, but by less than a tick
  }
}

TEST(Pace, ATickThatIsDueNowIsFollowedByTheNextOne) {
  EXPECT_EQ(next_tick(5 * second_ns, 1s), 6 * second_ns);
  EXPECT_EQ(next_tick(5 * second_ns + 1, 1s), 6 * second_ns);
}

TEST(Pace, MissedTicksAreSkipped) {
  EXPECT_EQ(next_tick(100 * second_ns + 5, 10s), 110 * second_ns);
}

TEST(Pace, TicksAreAlignedBefore1970) {
  EXPECT_EQ(next_tick(-second_ns / 2, 1s), 0);
}

TEST(Pace, EventsAtAConstantRateDoNotDrift) {
  EvenPace pace(3, 0);
  std::int64_t now_ns = 0;
  std::int64_t due_ns = 0;
  for (int i = 0; i <= 30'000; ++i) {
    due_ns = pace.next(now_ns);
    now_ns = std::max(now_ns, due_ns) + 1'000'000;
  }
  EXPECT_EQ(due_ns, 10'000 * second_ns);
}

TEST(Pace, AfterALongDelayThePaceRestartsWithoutABurst) {
  EvenPace pace(10, 0);
  EXPECT_EQ(pace.next(0), 0);
  EXPECT_EQ(pace.next(5 * second_ns), 5 * second_ns);
  EXPECT_EQ(pace.next(5 * second_ns), 5 * second_ns + second_ns / 10);
}

TEST(Pace, RecordsFollowTheirOwnPaceTimesTheSpeed) {
  DataPace pace(60);
  const std::int64_t data_ns = 1'500'000'000 * second_ns;
  EXPECT_EQ(pace.next(data_ns, 1000 * second_ns), 1000 * second_ns) << "the first record is due at once";
  EXPECT_EQ(pace.next(data_ns + 60 * second_ns, 1000 * second_ns), 1001 * second_ns);
  EXPECT_EQ(pace.next(data_ns + 60 * second_ns, 1001 * second_ns), 1001 * second_ns) << "a burst";
  EXPECT_EQ(pace.next(data_ns + 3600 * second_ns, 1001 * second_ns), 1060 * second_ns);
}

TEST(Pace, AtTheDatasPaceDelaysDoNotAddUp) {
  DataPace pace(3);
  std::int64_t now_ns = 0;
  std::int64_t due_ns = 0;
  for (int i = 0; i <= 30'000; ++i) {
    due_ns = pace.next(i * second_ns, now_ns);
    now_ns = std::max(now_ns, due_ns) + 1'000'000;
  }
  EXPECT_EQ(due_ns, 10'000 * second_ns);
}

TEST(Pace, IfTheDatasTimeGoesBackThePaceRestarts) {
  DataPace pace(1);
  EXPECT_EQ(pace.next(100 * second_ns, 0), 0);
  EXPECT_EQ(pace.next(105 * second_ns, 0), 5 * second_ns);
  EXPECT_EQ(pace.next(50 * second_ns, 6 * second_ns), 6 * second_ns);
  EXPECT_EQ(pace.next(52 * second_ns, 6 * second_ns), 8 * second_ns);
}

TEST(Pace, ALateRecordIsDueAtOnceAndTheNextAfterItsInterval) {
  DataPace pace(1);
  EXPECT_EQ(pace.next(0, 0), 0);
  EXPECT_EQ(pace.next(second_ns, 60 * second_ns), 60 * second_ns);
  EXPECT_EQ(pace.next(2 * second_ns, 60 * second_ns), 61 * second_ns);
}

TEST(Pace, TheSlowestPaceDoesNotOverflow) {
  DataPace pace(1e-12);
  EXPECT_EQ(pace.next(0, 0), 0);
  EXPECT_GT(pace.next(9'000'000'000 * second_ns, 0), 0);
}

TEST(Pace, ATimerBecomesReadableAtItsTime) {
  Timer timer(CLOCK_MONOTONIC);
  const std::int64_t due_ns = timer.now_ns() + 20'000'000;
  timer.set(due_ns);
  pollfd descriptor{timer.fd(), POLLIN, 0};
  EXPECT_EQ(::poll(&descriptor, 1, 0), 0);
  ASSERT_EQ(::poll(&descriptor, 1, 10'000), 1);
  EXPECT_GE(timer.now_ns(), due_ns);
  timer.set(0);
  EXPECT_EQ(::poll(&descriptor, 1, 10'000), 1) << "a time in the past";
}

}  // namespace
}  // namespace backplane::sources
