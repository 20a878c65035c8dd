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

TEST(Exposition, OfNothingIsEmpty) {
  EXPECT_EQ(expose({}), "");
}

}  // namespace
}  // namespace backplane::metrics
