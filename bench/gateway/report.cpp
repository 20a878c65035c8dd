#include "bench/gateway/report.hpp"

#include <algorithm>
#include <cstdio>

#include <fmt/format.h>

namespace backplane::bench {
namespace {

Spread scaled(Spread figure, double factor) {
  return {figure.low * factor, figure.middle * factor, figure.high * factor};
}

}  // namespace

Spread spread(const Runs& runs, double Outcome::*figure) {
  std::vector<double> values;
  for (const Outcome& each : runs) values.push_back(each.*figure);
  return spread(values);
}

Spread ratio(const Runs& runs, const Runs& others, double Outcome::*figure) {
  std::vector<double> ratios;
  for (std::size_t i = 0; i < runs.size(); ++i) ratios.push_back(runs[i].*figure / others[i].*figure);
  return spread(ratios);
}

void Report::head(std::string_view title) {
  fmt::print("\n{}\n{:<11} {:>23} {:>24} {:>21} {:>21} {:>6} {:>6}\n", title, "server", "k deliveries/s",
             "CPU us a delivery", "p50 ms", "p99 ms", "lost", "faults");
}

void Report::print(std::string_view server, const Runs& runs) {
  std::uint64_t lost = 0;
  std::uint64_t faults = 0;
  for (const Outcome& each : runs) {
    lost += each.lost;
    faults += each.faults;
  }
  fmt::print("{:<11} {:>23} {:>24} {:>21} {:>21} {:>6} {:>6}\n", server,
             with_extremes(scaled(spread(runs, &Outcome::deliveries_a_second), 1e-3), 0),
             with_extremes(spread(runs, &Outcome::cpu_us), 4),
             with_extremes(scaled(spread(runs, &Outcome::p50_us), 1e-3), 2),
             with_extremes(scaled(spread(runs, &Outcome::p99_us), 1e-3), 2), lost, faults);
  std::fflush(stdout);
}

void Report::judge(bool at_least, double target, std::string_view what, const Spread& got) {
  const bool good = at_least ? got.middle >= target : got.middle <= target;
  judged_.push_back(fmt::format("{:<66} {:>20}   target: at {:<5} {:>5.2f}: {}", what, with_extremes(got, 2),
                                at_least ? "least" : "most", target, good ? "yes" : "no"));
  fmt::print("  {}\n", judged_.back());
  std::fflush(stdout);
}

void Report::note(std::string_view what, const Spread& got) {
  fmt::print("  {:<66} {:>20}\n", what, with_extremes(got, 2));
  std::fflush(stdout);
}

void Report::summary() const {
  if (judged_.empty()) return;
  fmt::print("\ntargets: the median of the rounds, and (lowest–highest)\n");
  for (const std::string& line : judged_) fmt::print("  {}\n", line);
}

}  // namespace backplane::bench
