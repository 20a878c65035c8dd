#pragma once
// What a benchmark reports of several runs.

#include <algorithm>
#include <vector>

namespace backplane::bench {

/// The middle one of an odd number of values, the upper of the two middle ones of an even number; there must
/// be one.
inline double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

}  // namespace backplane::bench
