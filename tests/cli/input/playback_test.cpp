#include "cli/input/playback.hpp"

#include <limits>

#include <gtest/gtest.h>

namespace backplane::cli {
namespace {

using namespace std::chrono_literals;

constexpr Playback::Clock::time_point start{1000s};

TEST(Playback, EventsKeepTheirIntervals) {
  Playback playback(1, start);
  EXPECT_EQ(playback.due(5'000'000'000), start);
  EXPECT_EQ(playback.due(7'000'000'000), start + 2s);
}

TEST(Playback, AtTenTimesThePaceIntervalsAreATenth) {
  Playback playback(10, start);
  EXPECT_EQ(playback.due(0), start);
  EXPECT_EQ(playback.due(20'000'000'000), start + 2s);
}

TEST(Playback, AtInfiniteSpeedEverythingIsDueAtOnce) {
  Playback playback(std::numeric_limits<double>::infinity(), start);
  EXPECT_EQ(playback.due(0), start);
  EXPECT_EQ(playback.due(86'400'000'000'000), start);
}

TEST(Playback, ATimeThatGoesBackIsDueAtOnce) {
  Playback playback(1, start);
  EXPECT_EQ(playback.due(10'000'000'000), start);
  EXPECT_EQ(playback.due(13'000'000'000), start + 3s);
  EXPECT_EQ(playback.due(11'000'000'000), start + 3s);
  EXPECT_EQ(playback.due(std::numeric_limits<std::int64_t>::min()), start + 3s);
}

TEST(Playback, ADamagedTimeDoesNotOverflow) {
  Playback playback(1, start);
  (void)playback.due(0);
  EXPECT_LE(playback.due(std::numeric_limits<std::int64_t>::max()), start + 24h * 365);
}

TEST(Speed, IsANumberAboveZeroOrMax) {
  EXPECT_DOUBLE_EQ(parse_speed("10").value(), 10);
  EXPECT_DOUBLE_EQ(parse_speed("0.5").value(), 0.5);
  EXPECT_DOUBLE_EQ(parse_speed("4x").value(), 4);
  EXPECT_EQ(parse_speed("max").value(), std::numeric_limits<double>::infinity());
  for (const char* bad : {"", "0", "-1", "fast", "1e99", "nan", "inf", "x"}) {
    EXPECT_EQ(
        parse_speed(bad).error().text,
        std::string("--speed: expected a number above 0, such as 10 or 0.5, or max, got \"") + bad + "\"");
  }
}

}  // namespace
}  // namespace backplane::cli
