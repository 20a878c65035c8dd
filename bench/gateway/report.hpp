#pragma once
// Figures of several runs, and whether they are what is wanted.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "bench/gateway/load.hpp"

namespace backplane::bench {

/// One figure of several runs.
struct Spread {
  double low{};
  double middle{};  ///< the median
  double high{};
};

using Runs = std::vector<Outcome>;

[[nodiscard]] Spread spread(const std::vector<double>& values);
[[nodiscard]] Spread spread(const Runs& runs, double Outcome::*figure);
/// Of what each of `runs` has to the one of `others` that ran beside it.
[[nodiscard]] Spread ratio(const Runs& runs, const Runs& others, double Outcome::*figure);

/// Prints tables as the figures come, and in the end what was wanted beside what there was.
class Report {
 public:
  /// The head of a table of print()'s lines.
  static void head(std::string_view title);
  static void print(std::string_view server, const Runs& runs);

  void at_least(double wanted, std::string_view what, const Spread& got) { judge(true, wanted, what, got); }
  void at_most(double wanted, std::string_view what, const Spread& got) { judge(false, wanted, what, got); }
  /// Figures that nothing is wanted of.
  static void note(std::string_view what, const Spread& got);

  /// Prints all that was wanted.
  void summary() const;

 private:
  void judge(bool at_least, double wanted, std::string_view what, const Spread& got);
  std::vector<std::string> judged_;
};

}  // namespace backplane::bench
