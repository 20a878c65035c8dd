#include "fanout/timer_wheel.hpp"

#include <memory>
#include <random>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace backplane::fanout {
namespace {

using namespace std::chrono_literals;
using Clock = TimerWheel::Clock;

class Alarm final : public TimerWheel::Timer {
 public:
  void on_time(Clock::time_point now) override { expirations.push_back(now); }
  std::vector<Clock::time_point> expirations;
};

constexpr Clock::time_point start{1h};

TEST(TimerWheel, ATimerExpiresOnceAndNeverEarly) {
  TimerWheel wheel(start);
  Alarm alarm;
  wheel.set(alarm, start + 55ms);
  for (auto now = start; now < start + 200ms; now += 1ms) wheel.advance(now);
  ASSERT_EQ(alarm.expirations.size(), 1u);
  EXPECT_GE(alarm.expirations[0], start + 55ms);
  EXPECT_LE(alarm.expirations[0], start + 55ms + TimerWheel::tick);
  EXPECT_FALSE(alarm.is_set());
}

TEST(TimerWheel, ATimerCanBeLongerThanATurnOfTheWheel) {
  TimerWheel wheel(start);
  Alarm alarm;
  wheel.set(alarm, start + 1min);
  for (auto now = start; now < start + 59s; now += 7ms) wheel.advance(now);
  EXPECT_TRUE(alarm.expirations.empty());
  wheel.advance(start + 61s);
  EXPECT_EQ(alarm.expirations.size(), 1u);
}

TEST(TimerWheel, TimersThatExpiredDuringALongSleepAreCalledAtOnce) {
  TimerWheel wheel(start);
  std::vector<Alarm> alarms(100);
  for (std::size_t i = 0; i < alarms.size(); ++i) wheel.set(alarms[i], start + 100ms * i);
  wheel.advance(start + 1h);
  for (const Alarm& alarm : alarms) EXPECT_EQ(alarm.expirations.size(), 1u);
}

TEST(TimerWheel, ACancelledOrDestroyedTimerDoesNotExpire) {
  TimerWheel wheel(start);
  Alarm cancelled;
  wheel.set(cancelled, start + 20ms);
  cancelled.cancel();
  auto destroyed = std::make_unique<Alarm>();
  wheel.set(*destroyed, start + 20ms);
  destroyed.reset();
  EXPECT_EQ(wheel.next(), Clock::time_point::max());
  wheel.advance(start + 1s);
  EXPECT_TRUE(cancelled.expirations.empty());
}

TEST(TimerWheel, NextReturnsWhenToAdvance) {
  TimerWheel wheel(start);
  Alarm alarm;
  wheel.set(alarm, start + 300ms);
  EXPECT_GE(wheel.next(), start + 300ms);
  EXPECT_LE(wheel.next(), start + 300ms + TimerWheel::tick);
  wheel.advance(wheel.next());
  EXPECT_EQ(alarm.expirations.size(), 1u);
}

/// Sets itself again, and destroys another timer.
class Busy final : public TimerWheel::Timer {
 public:
  explicit Busy(TimerWheel& wheel) : wheel_(wheel) {}
  void on_time(Clock::time_point now) override {
    ++expirations;
    other.reset();
    wheel_.set(*this, now);
  }
  int expirations{};
  std::unique_ptr<Alarm> other;

 private:
  TimerWheel& wheel_;
};

TEST(TimerWheel, ATimerMaySetItselfAgainAndDestroyOthersThatExpire) {
  TimerWheel wheel(start);
  Busy first(wheel);
  Busy second(wheel);
  first.other = std::make_unique<Alarm>();
  second.other = std::make_unique<Alarm>();
  wheel.set(*first.other, start + 20ms);
  wheel.set(first, start + 20ms);
  wheel.set(second, start + 20ms);
  wheel.set(*second.other, start + 20ms);
  wheel.advance(start + 40ms);
  EXPECT_EQ(first.expirations, 1);
  EXPECT_EQ(second.expirations, 1);
  wheel.advance(start + 80ms);
  EXPECT_EQ(first.expirations, 2);
}

TEST(TimerWheel, ManyTimersExpireAsOftenAsTheyAreSet) {
  std::mt19937 random(1);
  TimerWheel wheel(start);
  std::vector<Alarm> alarms(50);
  std::vector<Clock::time_point> due(alarms.size());
  std::vector<std::size_t> expected(alarms.size());
  auto now = start;
  for (int step = 0; step < 20'000; ++step) {
    const std::size_t i = random() % alarms.size();
    if (random() % 4 == 0) {
      alarms[i].cancel();
    } else {
      wheel.set(alarms[i], due[i] = now + std::chrono::milliseconds{random() % 20'000});
    }
    now += std::chrono::milliseconds{random() % 30};
    std::vector<bool> was_set;
    for (const Alarm& alarm : alarms) was_set.push_back(alarm.is_set());
    wheel.advance(now);
    for (std::size_t k = 0; k < alarms.size(); ++k) {
      const bool must_ring = was_set[k] && due[k] + 2 * TimerWheel::tick <= now;
      ASSERT_FALSE(must_ring && alarms[k].is_set());
      if (was_set[k] && !alarms[k].is_set()) {
        ASSERT_GE(alarms[k].expirations.back(), due[k]);
        ++expected[k];
      }
      ASSERT_EQ(alarms[k].expirations.size(), expected[k]);
    }
  }
}

}  // namespace
}  // namespace backplane::fanout
