#include "cli/console/units.hpp"

#include <limits>

#include <gtest/gtest.h>

namespace backplane::cli {
namespace {

using namespace std::chrono_literals;

TEST(Units, LongCountsHaveThreeDigitsAndAUnit) {
  EXPECT_EQ(short_count(0), "0");
  EXPECT_EQ(short_count(9'999), "9999");
  EXPECT_EQ(short_count(10'000), "10.0k");
  EXPECT_EQ(short_count(123'456), "123k");
  EXPECT_EQ(short_count(999'499), "999k");
  EXPECT_EQ(short_count(999'500), "1.00M");
  EXPECT_EQ(short_count(std::numeric_limits<std::uint64_t>::max()), "18447P");
}

TEST(Units, BytesAreInPowersOf1024) {
  EXPECT_EQ(short_bytes(0), "0 B");
  EXPECT_EQ(short_bytes(999), "999 B");
  EXPECT_EQ(short_bytes(1'024), "1.00 KiB");
  EXPECT_EQ(short_bytes(1u << 20), "1.00 MiB");
  EXPECT_EQ(short_bytes(300u << 20), "300 MiB");
}

TEST(Units, LowRatesHaveADecimal) {
  EXPECT_EQ(short_rate(0), "0");
  EXPECT_EQ(short_rate(0.5), "0.5");
  EXPECT_EQ(short_rate(9.96), "10");
  EXPECT_EQ(short_rate(12'345.6), "12.3k");
  EXPECT_EQ(short_rate(-1), "0");
}

TEST(Units, AgesAreInTheLargestUnitThatFits) {
  EXPECT_EQ(short_age(-5s), "0.0s");
  EXPECT_EQ(short_age(999ms), "0.9s");
  EXPECT_EQ(short_age(59s), "59s");
  EXPECT_EQ(short_age(60s), "1m");
  EXPECT_EQ(short_age(23h + 59min), "23h");
  EXPECT_EQ(short_age(49h), "2d");
}

TEST(Units, ARateOfACounterThatWentBackIsZero) {
  EXPECT_DOUBLE_EQ(rate(150, 100, 2s), 25);
  EXPECT_DOUBLE_EQ(rate(1, 100, 2s), 0);
  EXPECT_DOUBLE_EQ(rate(100, 1, 0s), 0);
}

TEST(Units, LongNumbersAreGrouped) {
  EXPECT_EQ(grouped(0), "0");
  EXPECT_EQ(grouped(1'234'567), "1,234,567");
  EXPECT_EQ(counted(1, "event"), "1 event");
  EXPECT_EQ(counted(1'234, "event"), "1,234 events");
  EXPECT_EQ(counted(0, "event"), "0 events");
}

}  // namespace
}  // namespace backplane::cli
