#include "core/metrics/exposition.hpp"

#include <array>

#include <gtest/gtest.h>

namespace backplane::metrics {
namespace {

TEST(Exposition, HasHelpTypeAndOneSamplePerLabelSet) {
  const std::array families{Family{"backplane_broker_received_total",
                                   "Messages taken",
                                   Kind::counter,
                                   {{{{"backplane", "default"}}, 3}, {{{"backplane", "other"}}, 4}}}};
  EXPECT_EQ(expose(families),
            "# HELP backplane_broker_received_total Messages taken\n"
            "# TYPE backplane_broker_received_total counter\n"
            "backplane_broker_received_total{backplane=\"default\"} 3\n"
            "backplane_broker_received_total{backplane=\"other\"} 4\n");
}

TEST(Exposition, DistinguishesGaugesFromCounters) {
  const std::array families{Family{"x", "y", Kind::gauge, {{{}, 2.5}}}};
  EXPECT_EQ(expose(families), "# HELP x y\n# TYPE x gauge\nx 2.5\n");
}

TEST(Exposition, EscapesLabelValuesThatWouldForgeALine) {
  const std::array families{Family{"x", "y", Kind::gauge, {{{{"name", "a\"b\\c\nd 1"}}, 1}}}};
  EXPECT_EQ(expose(families), "# HELP x y\n# TYPE x gauge\nx{name=\"a\\\"b\\\\c\\nd 1\"} 1\n");
}

TEST(Exposition, KeepsLargeCountsExactUpTo53Bits) {
  const std::array families{Family{"x", "y", Kind::counter, {{{}, 9007199254740991.0}}}};
  const std::string text = expose(families);
  EXPECT_EQ(std::stod(text.substr(text.rfind(' '))), 9007199254740991.0) << text;
}

TEST(Exposition, AHistogramHasCumulativeBucketsInSeconds) {
  LatencyHistogram histogram;
  for (const std::uint64_t ns : {50'000u, 100'000u, 100'001u, 7'000'000u}) histogram.add(ns);
  histogram.add(60'000'000'000);  // above all bounds
  const std::array families{Family{"x_seconds", "y", Kind::histogram, {{{{"name", "a"}}, 0, histogram}}}};
  const std::string text = expose(families);
  EXPECT_TRUE(text.starts_with("# HELP x_seconds y\n# TYPE x_seconds histogram\n")) << text;
  for (const std::string line :
       {"x_seconds_count{name=\"a\"} 5", "x_seconds_bucket{name=\"a\",le=\"0.0001\"} 2",
        "x_seconds_bucket{name=\"a\",le=\"0.00025\"} 3", "x_seconds_bucket{name=\"a\",le=\"0.005\"} 3",
        "x_seconds_bucket{name=\"a\",le=\"0.01\"} 4", "x_seconds_bucket{name=\"a\",le=\"10\"} 4",
        "x_seconds_bucket{name=\"a\",le=\"+Inf\"} 5"}) {
    EXPECT_NE(text.find(line + "\n"), std::string::npos) << line << "\n" << text;
  }
  const std::string sum = "x_seconds_sum{name=\"a\"} ";
  ASSERT_NE(text.find(sum), std::string::npos) << text;
  EXPECT_NEAR(std::stod(text.substr(text.find(sum) + sum.size())), 60.007250001, 1e-9);
}

TEST(Exposition, OfNothingIsEmpty) {
  EXPECT_EQ(expose({}), "");
}

}  // namespace
}  // namespace backplane::metrics
