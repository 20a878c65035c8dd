#pragma once
// What a benchmark reports of several runs.

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

#include <fmt/format.h>

namespace backplane::bench {

/// The middle one of an odd number of values, the upper of the two middle ones of an even number; there must
/// be one.
inline double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

/// One figure of several runs.
struct Spread {
  double low{};
  double middle{};  ///< the median
  double high{};
};

inline Spread spread(const std::vector<double>& values) {
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  return {*low, median(values), *high};
}

/// The ratio of each value to the one of `others` in the same round.
inline Spread ratio(const std::vector<double>& values, const std::vector<double>& others) {
  std::vector<double> ratios;
  for (std::size_t i = 0; i < values.size(); ++i) ratios.push_back(values[i] / others[i]);
  return spread(ratios);
}

/// `2.31 (2.20–2.40)`
inline std::string with_extremes(const Spread& figure, int digits) {
  return fmt::format("{:.{}f} ({:.{}f}–{:.{}f})", figure.middle, digits, figure.low, digits, figure.high,
                     digits);
}

}  // namespace backplane::bench
