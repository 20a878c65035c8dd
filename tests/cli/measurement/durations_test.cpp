#include "cli/measurement/durations.hpp"

#include <algorithm>
#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace backplane::cli {
namespace {

using std::chrono::nanoseconds;

TEST(Durations, SmallOnesAreExact) {
  Durations durations;
  for (int ns = 1; ns <= 50; ++ns) durations.record(nanoseconds{ns});
  EXPECT_EQ(durations.count(), 50u);
  EXPECT_EQ(durations.percentile(0.5), nanoseconds{25});
  EXPECT_EQ(durations.percentile(0.02), nanoseconds{1});
  EXPECT_EQ(durations.percentile(1), nanoseconds{50});
  EXPECT_EQ(durations.max(), nanoseconds{50});
}

TEST(Durations, APercentileIsNeverTooShortAndAtMostAThirtySecondTooLong) {
  std::mt19937_64 random(7);
  Durations durations;
  std::vector<std::int64_t> all;
  for (int n = 0; n < 10'000; ++n) {
    const auto ns = static_cast<std::int64_t>(random() >> (random() % 60 + 2));
    all.push_back(ns);
    durations.record(nanoseconds{ns});
  }
  std::sort(all.begin(), all.end());
  for (const double part : {0.001, 0.1, 0.5, 0.9, 0.99, 0.999}) {
    const std::int64_t exact = all[static_cast<std::size_t>(part * 10'000) - 1];
    const std::int64_t found = durations.percentile(part).count();
    EXPECT_GE(found, exact) << part;
    EXPECT_LE(found, exact + exact / 32 + 1) << part;
  }
  EXPECT_EQ(durations.percentile(1).count(), all.back());
}

TEST(Durations, ExtremesAreCounted) {
  Durations durations;
  durations.record(nanoseconds{-5});  // a clock went back
  durations.record(nanoseconds::max());
  EXPECT_EQ(durations.percentile(0.5), nanoseconds{0});
  EXPECT_EQ(durations.percentile(1), nanoseconds::max());
}

TEST(Durations, OfNoneEverythingIsZero) {
  const Durations durations;
  EXPECT_EQ(durations.count(), 0u);
  EXPECT_EQ(durations.percentile(0.99), nanoseconds{0});
}

}  // namespace
}  // namespace backplane::cli
