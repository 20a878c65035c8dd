#include "cli/measurement/bench_report.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace backplane::cli {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;

BenchReport report() {
  constexpr Rates::Clock::time_point start{};
  BenchReport report{"pub", "tcp://h:5570", "16 bytes each, on bench.pub", Rates(start), "confirmed", {}, {}};
  report.rates.record(1500, 24'000, start + 900ms);
  report.rates.record(1500, 24'000, start + 2s);
  for (int n = 1; n <= 100; ++n) report.durations.record(n * 1ms);
  report.faults = {{"refused", 0}, {"in_doubt", 2}};
  return report;
}

TEST(BenchReport, ForPeople) {
  EXPECT_THAT(
      bench_text(report()),
      ElementsAre("bench pub   tcp://h:5570, 16 bytes each, on bench.pub", "events      3,000 in 2.00 s",
                  "rate        1500 events/s, 23.4 KiB/s",
                  "by second   min 0, median 1500, max 1500 events/s",
                  testing::MatchesRegex("confirmed   p50 5[01]\\.. ms, p90 .* ms, p99 .* ms, p99\\.9 .* ms, "
                                        "p99\\.99 100 ms, max 100 ms"),
                  "in_doubt    2 events"));
}

TEST(BenchReport, ForPrograms) {
  EXPECT_THAT(bench_json(report()),
              testing::MatchesRegex(
                  "\\{\"bench\":\"pub\",\"endpoint\":\"tcp://h:5570\",\"events\":3000,\"bytes\":48000,"
                  "\"seconds\":2.000000,\"events_per_second\":1500.0,\"bytes_per_second\":24000.0,"
                  "\"by_second\":\\{\"min\":0,\"median\":1500,\"max\":1500\\},"
                  "\"confirmed_seconds\":\\{\"samples\":100,\"p50\":0.05.*,\"max\":0.100000000\\},"
                  "\"refused\":0,\"in_doubt\":2\\}"));
}

TEST(BenchReport, WithoutEventsThereIsNothingToDivide) {
  const BenchReport none{"sub", "e", "bench.>", Rates({}), "age", {}, {}};
  EXPECT_THAT(bench_text(none), ElementsAre("bench sub   e, bench.>", "events      0 in 0 ns",
                                            "rate        0 events/s, 0 B/s"));
}

TEST(BenchReport, DurationsHaveThreeDigits) {
  EXPECT_EQ(short_duration(0ns), "0 ns");
  EXPECT_EQ(short_duration(999ns), "999 ns");
  EXPECT_EQ(short_duration(1234ns), "1.23 µs");
  EXPECT_EQ(short_duration(12'345us), "12.3 ms");
  EXPECT_EQ(short_duration(123'456ms), "123 s");
}

}  // namespace
}  // namespace backplane::cli
