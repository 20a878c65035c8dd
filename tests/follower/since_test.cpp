#include "follower/control/since.hpp"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace backplane::testing {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string problem(std::string_view text) {
  const auto since = parse_since(text);
  return since ? "valid" : since.error().text;
}

TEST(Since, IsADurationAnOffsetOrAResumeToken) {
  EXPECT_EQ(std::get<std::chrono::nanoseconds>(parse_since("10m").value()), 10min);
  EXPECT_EQ(std::get<AfterOffset>(parse_since("17").value()).offset, 17u);
  EXPECT_EQ(std::get<AfterOffset>(parse_since("0").value()).offset, 0u);
  EXPECT_THAT(std::get<AfterPositions>(parse_since("00000000000000ab:12").value()).positions,
              ElementsAre(StreamPosition{0xab, 12}));
}

TEST(Since, AnythingElseIsRefusedWithWhatWasExpected) {
  for (const std::string text : {"", "x", "-1", "1.5", "18446744073709551616", "10m ", "10 m"}) {
    EXPECT_EQ(
        problem(text),
        "expected a duration such as 10m, an offset such as 17 or a resume token, got \"" + text + "\"");
  }
  EXPECT_THAT(problem("zz:1"), HasSubstr("resume token: "));
  EXPECT_THAT(problem(std::string(100, 'x')), HasSubstr(std::string(64, 'x') + "…\""));
}

TEST(Since, ADurationIsAbove0AndAtMost3650Days) {
  EXPECT_EQ(problem("3650d"), "valid");
  EXPECT_EQ(problem("1ns"), "valid");
  EXPECT_EQ(problem("0s"), "expected a duration above 0 and of at most 3650d, got \"0s\"");
  EXPECT_EQ(problem("3651d"), "expected a duration above 0 and of at most 3650d, got \"3651d\"");
  EXPECT_FALSE(since_ago(-1ns, "-1ns"));
}

TEST(Since, BecomesTheStartOfAReplay) {
  const auto now = std::chrono::steady_clock::now();
  EXPECT_FALSE(replay_from(Since{}, now));
  EXPECT_EQ(std::get<SinceAgo>(*replay_from(Since{400ns}, now)).ago, 400ns);
  EXPECT_EQ(std::get<SinceAgo>(*replay_from(Since{400ns}, now)).at, now);
  EXPECT_EQ(std::get<AfterOffset>(*replay_from(Since{AfterOffset{3}}, now)).offset, 3u);
  const auto positions = replay_from(Since{AfterPositions{{{1, 2}}}}, now);
  EXPECT_THAT(std::get<AfterPositions>(*positions).positions, ElementsAre(StreamPosition{1, 2}));
}

}  // namespace
}  // namespace backplane::testing
