#include "cli/console/health_report.hpp"

#include <chrono>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace backplane::cli {
namespace {

using namespace std::chrono_literals;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

std::vector<std::string> lines(const Examination& examination) {
  return health_text({examination});
}

Examination identity(const BrokerIdentity& broker) {
  Examination examination{"broker b", {}};
  check_identity(broker, "0.1.0", examination);
  return examination;
}

Examination clock(std::chrono::nanoseconds newest, std::chrono::nanoseconds now) {
  Examination examination{"broker b", {}};
  check_clock(newest.count(), now.count(), examination);
  return examination;
}

Examination stats(std::map<std::string, std::uint64_t> counters,
                  std::vector<ParticipantInfo> participants = {}) {
  BrokerStats stats;
  stats.counters = std::move(counters);
  stats.participants = std::move(participants);
  Examination examination{"broker b", {}};
  check_stats(stats, examination);
  return examination;
}

TEST(HealthReport, AHealthyBrokerHasNoProblems) {
  EXPECT_THAT(lines(identity({"b", "0.1.0", false, 1})),
              ElementsAre("broker b", "  ok       version     0.1.0", "no problems found"));
}

TEST(HealthReport, AClockThatDiffersIsAWarning) {
  EXPECT_FALSE(clock(100s, 105s).has(Check::State::warning));
  EXPECT_FALSE(clock(100s + 500ms, 100s).has(Check::State::warning));
  EXPECT_THAT(lines(clock(7300s, 100s)),
              Contains("  WARNING  clock       at least 2h ahead of this machine's"));
  EXPECT_THAT(lines(clock(100s, 7300s)),
              Contains(HasSubstr("WARNING  clock       2h behind this machine's, or ")));
}

TEST(HealthReport, AnotherVersionAndADrainAreWarnings) {
  const auto all = lines(identity({"b", "0.0.9", true, 1}));
  EXPECT_THAT(all, Contains("  WARNING  version     0.0.9, but this program is 0.1.0"));
  EXPECT_THAT(all, Contains(HasSubstr("WARNING  state       draining")));
  EXPECT_EQ(all.back(), "0 failures, 2 warnings");
}

TEST(HealthReport, LimitsThatAreNearlyReachedAreWarnings) {
  const auto all = lines(stats({{"topics", 850'000},
                                {"topics_max", 1'000'000},
                                {"open_files", 10},
                                {"open_files_max", 1024},
                                {"memory_bytes", 1u << 30},
                                {"memory_bytes_max", 4u << 30}}));
  EXPECT_THAT(all, Contains(HasSubstr("WARNING  topics      850,000 of 1,000,000 (85 %); ")));
  EXPECT_THAT(all, Contains("  ok       files       10 of 1,024 (0 %)"));
  EXPECT_THAT(all, Contains("  ok       losses      none since it started"));
}

TEST(HealthReport, WhatTheBrokerDoesNotReportIsLeftOut) {
  EXPECT_THAT(lines(stats({})),
              ElementsAre("broker b", "  ok       losses      none since it started", "no problems found"));
}

TEST(HealthReport, LossesAreNotedByName) {
  const auto all =
      lines(stats({{"rejected_total.too_large", 2}, {"rejected_total.repeat", 9}, {"lossy_sends_total", 1}}));
  EXPECT_THAT(all, Contains("  note     losses      2 events refused (rejected_total)"));
  EXPECT_THAT(all,
              Contains("  note     losses      1 time that a subscriber was too slow (lossy_sends_total)"));
  EXPECT_THAT(all, Not(Contains(HasSubstr("none since"))));
}

TEST(HealthReport, AStoreThatIsFullOrDamagedIsAFailure) {
  EXPECT_TRUE(stats({{"store_bytes_max", 100}, {"store_full", 1}}).has(Check::State::failed));
  EXPECT_TRUE(stats({{"store_bytes_max", 100}, {"store_damaged_ranges", 1}}).has(Check::State::failed));
  EXPECT_FALSE(stats({{"store_bytes_max", 100}, {"store_bytes", 10}}).has(Check::State::failed));
}

TEST(HealthReport, AGatewayThatIsDownIsAWarning) {
  ParticipantInfo gateway;
  gateway.role = ParticipantInfo::Role::gateway;
  EXPECT_THAT(lines(stats({}, {gateway})), Contains("  WARNING  gateways    1 gateway down"));
  gateway.up = true;
  EXPECT_FALSE(stats({}, {gateway}).has(Check::State::warning));
}

TEST(HealthReport, ForPrograms) {
  Examination examination{"broker \"b\"", {}};
  examination.add(Check::State::failed, "control", "nothing listens there");
  EXPECT_THAT(health_json({examination}),
              ElementsAre("{\"subject\":\"broker \\\"b\\\"\",\"check\":\"control\",\"state\":\"failed\","
                          "\"text\":\"nothing listens there\"}"));
}

}  // namespace
}  // namespace backplane::cli
