#include "broker/egress/wait_budget.hpp"

#include <gtest/gtest.h>

namespace backplane::broker {
namespace {

using namespace std::chrono_literals;

const WaitBudget::Clock::time_point start{1h};

TEST(WaitBudget, AllowsTenMillisecondsIfNothingWasWaited) {
  EXPECT_EQ(WaitBudget{}.allowed(start), 10ms);
}

TEST(WaitBudget, AllowsTwentyMillisecondsInAnyHundred) {
  WaitBudget budget;
  budget.waited(start, start + 10ms);
  EXPECT_EQ(budget.allowed(start + 10ms), 10ms);
  budget.waited(start + 10ms, start + 20ms);
  EXPECT_EQ(budget.allowed(start + 20ms), 0ms);
  EXPECT_EQ(budget.allowed(start + 100ms), 0ms);
}

TEST(WaitBudget, WaitsThatHaveLeftTheWindowNoLongerCount) {
  WaitBudget budget;
  budget.waited(start, start + 10ms);
  budget.waited(start + 10ms, start + 20ms);
  EXPECT_EQ(budget.allowed(start + 104ms), 4ms);
  EXPECT_EQ(budget.allowed(start + 110ms), 10ms);
}

TEST(WaitBudget, CountsShortWaitsToo) {
  WaitBudget budget;
  for (int i = 0; i < 15; ++i) budget.waited(start + i * 2ms, start + i * 2ms + 1ms);
  EXPECT_EQ(budget.allowed(start + 30ms), 5ms);
}

TEST(WaitBudget, NeverExceedsItsBudgetInAnyWindow) {
  WaitBudget budget;
  std::vector<std::pair<WaitBudget::Clock::time_point, WaitBudget::Clock::time_point>> waits;
  auto now = start;
  for (int i = 0; i < 5'000; ++i) {
    now += std::chrono::microseconds{(i * 7919) % 3000};
    const auto allowed = budget.allowed(now);
    if (allowed == 0ms) continue;
    budget.waited(now, now + allowed);
    waits.emplace_back(now, now + allowed);
    now += allowed;
    WaitBudget::Clock::duration in_window{0};
    for (const auto& [begin, end] : waits) {
      if (end > now - WaitBudget::window) in_window += end - std::max(begin, now - WaitBudget::window);
    }
    ASSERT_LE(in_window, WaitBudget::waits_in_window_max);
  }
  EXPECT_GT(waits.size(), 100u);
}

}  // namespace
}  // namespace backplane::broker
