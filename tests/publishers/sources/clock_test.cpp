#include "publishers/sources/clock.hpp"

#include <random>
#include <vector>

#include <gmock/gmock.h>

#include "backplane/events/v1/clock_tick.pb.h"

namespace backplane::sources {
namespace {

using namespace std::chrono_literals;

constexpr std::int64_t second_ns = 1'000'000'000;

struct Tick {
  std::uint64_t number;
  std::int64_t due_ns;
};

/// A clock that a test controls. `late` returns how late each wait ends.
class SimulatedTime {
 public:
  explicit SimulatedTime(std::int64_t begin_ns) : now_ns_(begin_ns) {}

  template <class Late>
  std::vector<Tick> run(std::chrono::nanoseconds every, std::size_t count, Late late) {
    std::vector<Tick> ticks;
    tick_on(every,
            {.now_ns = [this] { return now_ns_; },
             .wait_until =
                 [&](std::int64_t due_ns) {
                   now_ns_ = due_ns + late(ticks.size());
                   return true;
                 }},
            [&](const events::v1::ClockTick& tick, std::int64_t due_ns) {
              EXPECT_EQ(tick.time().seconds() * second_ns + tick.time().nanos(), due_ns);
              ticks.push_back({tick.tick(), due_ns});
              return ticks.size() < count;
            });
    return ticks;
  }

 private:
  std::int64_t now_ns_;
};

TEST(Clock, TenThousandLateTicksDoNotDrift) {
  std::mt19937_64 random(3);
  SimulatedTime time(1'700'000'000 * second_ns + 123'456'789);
  const auto ticks = time.run(250ms, 10'000, [&](std::size_t) {
    return static_cast<std::int64_t>(random() % 249'999'999);  // late, but by less than a tick
  });
  ASSERT_EQ(ticks.size(), 10'000U);
  for (std::size_t i = 0; i < ticks.size(); ++i) {
    ASSERT_EQ(ticks[i].number, i + 1);
    ASSERT_EQ(ticks[i].due_ns,
              1'700'000'000 * second_ns + 250'000'000 + static_cast<std::int64_t>(i) * 250'000'000);
  }
}

TEST(Clock, MissedTicksAreSkippedAndTheOthersStayAligned) {
  SimulatedTime time(100 * second_ns);
  const auto ticks = time.run(1s, 3, [](std::size_t tick) { return tick == 1 ? 5 * second_ns + 1 : 0; });
  ASSERT_EQ(ticks.size(), 3U);
  EXPECT_EQ(ticks[0].due_ns, 101 * second_ns);
  EXPECT_EQ(ticks[1].due_ns, 102 * second_ns);
  EXPECT_EQ(ticks[2].due_ns, 108 * second_ns);
  EXPECT_EQ(ticks[2].number, 3U);
}

TEST(Clock, AfterTheClockIsSetBackItTicksAtTheNewTime) {
  SimulatedTime time(100 * second_ns);
  bool set_back = false;
  const auto ticks = time.run(1s, 2, [&](std::size_t tick) {
    if (tick != 1 || set_back) return std::int64_t{0};
    set_back = true;
    return -50 * second_ns;  // woken by the change, before the tick
  });
  ASSERT_EQ(ticks.size(), 2U);
  EXPECT_EQ(ticks[1].due_ns, 53 * second_ns);
  EXPECT_EQ(ticks[1].number, 2U);
}

}  // namespace
}  // namespace backplane::sources
