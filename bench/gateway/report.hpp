#pragma once
// Figures of several runs, and whether they reach their targets.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "bench/gateway/load.hpp"
#include "bench/median.hpp"

namespace backplane::bench {

using Runs = std::vector<Outcome>;

[[nodiscard]] Spread spread(const Runs& runs, double Outcome::*figure);
/// The ratio of each of `runs` to the one of `others` in the same round.
[[nodiscard]] Spread ratio(const Runs& runs, const Runs& others, double Outcome::*figure);

/// Prints tables as figures arrive, and finally the targets with the results.
class Report {
 public:
  /// Prints the head of a table; print() adds lines.
  static void head(std::string_view title);
  static void print(std::string_view server, const Runs& runs);

  void at_least(double target, std::string_view what, const Spread& got) { judge(true, target, what, got); }
  void at_most(double target, std::string_view what, const Spread& got) { judge(false, target, what, got); }
  /// Prints a figure without a target.
  static void note(std::string_view what, const Spread& got);

  /// Prints all targets with their results.
  void summary() const;

 private:
  void judge(bool at_least, double target, std::string_view what, const Spread& got);
  std::vector<std::string> judged_;
};

}  // namespace backplane::bench
