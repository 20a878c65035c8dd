#include "core/log/log.hpp"

#include <chrono>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/log/line_writer.hpp"

namespace backplane::log {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::MatchesRegex;
using testing::Not;

/// What `act` writes to standard error.
template <class Act>
std::string written_by(Act act) {
  testing::internal::CaptureStderr();
  act();
  standard_error().flush(5s);
  return testing::internal::GetCapturedStderr();
}

class Log : public testing::Test {
 protected:
  void SetUp() override {
    set_program("broker");
    set_level(Level::info);
  }
  void TearDown() override { set_level(Level::info); }
};

TEST_F(Log, ALineHasTimeLevelAndComponent) {
  EXPECT_THAT(written_by([] { info("{} topics", 3); }),
              MatchesRegex("[0-9]+-[0-9]+-[0-9]+T[0-9]+:[0-9]+:[0-9]+\\.[0-9]+Z info    broker: 3 topics\n"));
}

TEST_F(Log, LinesBelowTheLevelAreDropped) {
  set_level(Level::warning);
  EXPECT_EQ(written_by([] { info("quiet"); }), "");
  EXPECT_THAT(written_by([] { warning("loud"); }), HasSubstr("warning broker: loud"));
  set_level(Level::off);
  EXPECT_EQ(written_by([] { error("quiet"); }), "");
}

TEST_F(Log, TextFromOutsideCannotForgeALine) {
  const std::string line = written_by([] { warning("topic {}", "a\nb \x1b[2J"); });
  EXPECT_THAT(line, HasSubstr("topic a\\nb \\x1B[2J\n"));
}

TEST_F(Log, NoColoursWithoutATerminal) {
  EXPECT_THAT(written_by([] { error("x"); }), Not(HasSubstr("\x1b")));
}

TEST_F(Log, BracesInTheTextAreText) {
  EXPECT_THAT(written_by([] { write(Level::info, "{\"a\":{}}"); }), HasSubstr("{\"a\":{}}"));
}

TEST_F(Log, LevelsAreReadByName) {
  EXPECT_EQ(parse_level("debug").value(), Level::debug);
  EXPECT_EQ(parse_level("off").value(), Level::off);
  EXPECT_EQ(parse_level("loud").error().text, "expected debug, info, warning, error or off, got \"loud\"");
}

TEST(RateLimit, AllowsOneLinePerIntervalAndCountsTheOthers) {
  RateLimit limit(1s);
  const RateLimit::Clock::time_point start{10s};
  EXPECT_TRUE(limit.allow(start));
  EXPECT_FALSE(limit.allow(start + 1ms));
  EXPECT_FALSE(limit.allow(start + 999ms));
  EXPECT_TRUE(limit.allow(start + 1s));
  EXPECT_EQ(limit.suppressed(), 2u);
  EXPECT_TRUE(limit.allow(start + 5s));
  EXPECT_EQ(limit.suppressed(), 0u);
}

}  // namespace
}  // namespace backplane::log
