#include "core/time/duration.hpp"

#include <limits>

#include <gtest/gtest.h>

namespace backplane {
namespace {

using namespace std::chrono_literals;

std::chrono::nanoseconds duration(std::string_view text) {
  const auto parsed = parse_duration(text, "test");
  EXPECT_TRUE(parsed.has_value()) << text;
  return parsed.value_or(-1ns);
}

std::int64_t time(std::string_view text) {
  const auto parsed = parse_time(text, "test");
  EXPECT_TRUE(parsed.has_value()) << text;
  return parsed.value_or(-1);
}

TEST(Duration, IsParsedInEveryUnit) {
  EXPECT_EQ(duration("0"), 0ns);
  EXPECT_EQ(duration("7ns"), 7ns);
  EXPECT_EQ(duration("100us"), 100us);
  EXPECT_EQ(duration("250ms"), 250ms);
  EXPECT_EQ(duration("5s"), 5s);
  EXPECT_EQ(duration("10m"), 10min);
  EXPECT_EQ(duration("1h"), 1h);
  EXPECT_EQ(duration("2d"), 48h);
}

TEST(Duration, FractionsAreExact) {
  EXPECT_EQ(duration("1.5s"), 1500ms);
  EXPECT_EQ(duration("0.1s"), 100ms);
  EXPECT_EQ(duration("2.25d"), 54h);
  EXPECT_EQ(duration("0.0000000019s"), 1ns) << "what is below a nanosecond is dropped";
}

TEST(Duration, OtherTextIsRefusedWithTheExpectedForm) {
  EXPECT_EQ(parse_duration("5", "--every").error().text,
            "--every: expected a duration such as 250ms, 5s or 10m, got \"5\"");
  for (const char* text :
       {"", "s", "5 s", " 5s", "-5s", "5sec", "1.s", ".5s", "1.5", "5S", "1h30m", "0x5s", "0.0"}) {
    EXPECT_FALSE(parse_duration(text, "x").has_value()) << text;
  }
}

TEST(Duration, TooLongOnesAreRefused) {
  EXPECT_EQ(duration("106751d"), 24h * 106751);
  EXPECT_FALSE(parse_duration("106752d", "x").has_value());
  EXPECT_FALSE(parse_duration("99999999999999999999s", "x").has_value());
}

TEST(Duration, IsPrintedInTheLargestUnitThatDividesIt) {
  EXPECT_EQ(format_duration(0ns), "0s");
  EXPECT_EQ(format_duration(1500ms), "1500ms");
  EXPECT_EQ(format_duration(60s), "1m");
  EXPECT_EQ(format_duration(90min), "90m");
  EXPECT_EQ(format_duration(48h), "2d");
  EXPECT_EQ(format_duration(1ns), "1ns");
}

TEST(Duration, PrintedOnesReadBackEqual) {
  for (const auto each : {1ns, 999ns, std::chrono::nanoseconds(1'234'567us), std::chrono::nanoseconds(61s),
                          std::chrono::nanoseconds(25h), std::chrono::nanoseconds::max()}) {
    EXPECT_EQ(duration(format_duration(each)), each);
  }
}

TEST(Time, IsPrintedWithAsManyDecimalsAsNeeded) {
  EXPECT_EQ(format_time(0), "1970-01-01T00:00:00Z");
  EXPECT_EQ(format_time(946'684'800'000'000'000), "2000-01-01T00:00:00Z");
  EXPECT_EQ(format_time(946'684'800'120'000'000), "2000-01-01T00:00:00.120Z");
  EXPECT_EQ(format_time(946'684'800'120'001'000), "2000-01-01T00:00:00.120001Z");
  EXPECT_EQ(format_time(946'684'800'000'000'001), "2000-01-01T00:00:00.000000001Z");
}

TEST(Time, TheEdgesOf64BitsCanBePrinted) {
  EXPECT_EQ(format_time(-1), "1969-12-31T23:59:59.999999999Z");
  EXPECT_EQ(format_time(std::numeric_limits<std::int64_t>::min()), "1677-09-21T00:12:43.145224192Z");
  EXPECT_EQ(format_time(std::numeric_limits<std::int64_t>::max()), "2262-04-11T23:47:16.854775807Z");
}

TEST(Time, IsParsedInTheFormsOfRealData) {
  constexpr std::int64_t midnight = 946'684'800'000'000'000;
  EXPECT_EQ(time("2000-01-01T00:00:00Z"), midnight);
  EXPECT_EQ(time("2000-01-01"), midnight);
  EXPECT_EQ(time("2000-01-01 00:00"), midnight);
  EXPECT_EQ(time("2000-01-01T00:00:00"), midnight);
  EXPECT_EQ(time("Jan 1 2000"), midnight);
  EXPECT_EQ(time("1999-12-31T16:00:00-08:00"), midnight);
  EXPECT_EQ(time("2000-01-01T05:30:00+05:30"), midnight);
  EXPECT_EQ(time("2000-01-01T00:00:00.250Z"), midnight + 250'000'000);
  EXPECT_EQ(time("2000-02-29"), midnight + 59 * 86'400'000'000'000);
}

TEST(Time, OtherTextIsRefusedWithTheExpectedForm) {
  EXPECT_EQ(parse_time("soon", "since").error().text,
            "since: expected a time such as 2000-01-01T00:00:00Z, 2000-01-01 or Jan 1 2000, got \"soon\"");
  for (const char* text : {"", "2000", "2000-13-01", "2001-02-29", "2000-01-01T25:00", "2000-01-01T",
                           "Foo 1 2000", "2000-01-01T00:00:00.Z", "2000-01-01T00:00:00+1", "9999-01-01",
                           "2000-1-1", "2000-01-01T00:00:00Zx", "Jan 1 2000 x"}) {
    EXPECT_FALSE(parse_time(text, "x").has_value()) << text;
  }
}

TEST(Time, PrintedOnesReadBackEqual) {
  for (const std::int64_t ns : {std::int64_t{0}, std::int64_t{1'700'000'000'123'456'789}, std::int64_t{-1}}) {
    EXPECT_EQ(time(format_time(ns)), ns);
  }
}

}  // namespace
}  // namespace backplane
