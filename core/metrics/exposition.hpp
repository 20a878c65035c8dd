#pragma once
// Metrics in Prometheus' text format.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/metrics/latency_histogram.hpp"

namespace backplane::metrics {

enum class Kind : std::uint8_t { counter, gauge, histogram };

/// One value. Prometheus' values are doubles: above 2^53 the last digits are lost.
struct Sample {
  std::vector<std::pair<std::string, std::string>> labels;
  double value{};
  LatencyHistogram histogram{};  ///< instead of the value; in seconds on the page
};

/// One metric and its values, which differ in their labels.
struct Family {
  std::string name;  ///< [a-zA-Z_:][a-zA-Z0-9_:]*
  std::string help;  ///< one line
  Kind kind{Kind::counter};
  std::vector<Sample> samples;
};

/// The text of a /metrics page. Label values may be any UTF-8.
[[nodiscard]] std::string expose(std::span<const Family> families);

/// The Content-Type of that text.
inline constexpr std::string_view exposition_type = "text/plain; version=0.0.4; charset=utf-8";

}  // namespace backplane::metrics
