#include "cli/measurement/rates.hpp"

#include <gtest/gtest.h>

namespace backplane::cli {
namespace {

using namespace std::chrono_literals;

constexpr Rates::Clock::time_point start{100s};

TEST(Rates, AreOverTheTimeUntilTheLastRecord) {
  Rates rates(start);
  rates.record(10, 1000, start + 500ms);
  rates.record(20, 2000, start + 1500ms);
  EXPECT_EQ(rates.events(), 30u);
  EXPECT_EQ(rates.bytes(), 3000u);
  EXPECT_EQ(rates.elapsed(), 1500ms);
  EXPECT_DOUBLE_EQ(rates.events_per_second(), 20);
  EXPECT_DOUBLE_EQ(rates.bytes_per_second(), 2000);
}

TEST(Rates, EachWholeSecondHasItsOwn) {
  Rates rates(start);
  rates.record(5, 0, start + 100ms);
  rates.record(7, 0, start + 999ms);
  rates.record(1, 0, start + 1000ms);  // belongs to the second second
  rates.record(4, 0, start + 3100ms);  // the third one has none
  const Rates::Spread spread = rates.spread();
  EXPECT_EQ(spread.min, 0);
  EXPECT_EQ(spread.median, 1);
  EXPECT_EQ(spread.max, 12);
  EXPECT_EQ(rates.current(), 0);
}

TEST(Rates, BeforeTheFirstSecondIsOverThereIsNoSpread) {
  Rates rates(start);
  EXPECT_EQ(rates.events_per_second(), 0);
  rates.record(50, 0, start + 500ms);
  EXPECT_EQ(rates.spread().max, 0);
  EXPECT_DOUBLE_EQ(rates.current(), 100);
}

}  // namespace
}  // namespace backplane::cli
