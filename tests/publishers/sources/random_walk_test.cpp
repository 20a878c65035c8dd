#include "publishers/sources/random_walk.hpp"

#include <set>

#include <gmock/gmock.h>

namespace backplane::sources {
namespace {

TEST(RandomWalk, TheSameSeedAlwaysGivesTheSamePrices) {
  RandomWalk first(1, 3);
  RandomWalk again(1, 3);
  RandomWalk other(2, 3);
  bool differs = false;
  for (int i = 0; i < 1000; ++i) {
    const auto a = first.next();
    const auto b = again.next();
    const auto c = other.next();
    EXPECT_EQ(a.symbol, b.symbol);
    EXPECT_EQ(a.cents, b.cents);
    differs = differs || a.cents != c.cents;
  }
  EXPECT_TRUE(differs);
  // Scripts may rely on these prices, on any machine.
  RandomWalk walk(1, 3);
  std::string prices;
  for (int i = 0; i < 4; ++i) {
    const auto& quote = walk.next();
    prices += quote.symbol + " " + std::to_string(quote.cents) + ", ";
  }
  EXPECT_EQ(prices, "AAA 12496, AAA 12554, AAA 12598, AAB 33448, ");
}

TEST(RandomWalk, PricesMoveInSmallStepsAndStayPositive) {
  RandomWalk walk(5, 1);
  std::int64_t before = walk.next().cents;
  for (int i = 0; i < 100'000; ++i) {
    const std::int64_t cents = walk.next().cents;
    ASSERT_GE(cents, 1);
    ASSERT_LE(std::abs(cents - before), before / 200 + 1);
    before = cents;
  }
}

TEST(RandomWalk, SymbolsHaveDifferentNames) {
  RandomWalk walk(9, 20'000);
  std::set<std::string> symbols;
  for (int i = 0; i < 400'000; ++i) symbols.insert(walk.next().symbol);
  EXPECT_GT(symbols.size(), 19'990U);
  EXPECT_EQ(symbols.begin()->size(), 4U) << "three letters suffice for 17,576";
}

}  // namespace
}  // namespace backplane::sources
