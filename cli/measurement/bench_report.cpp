#include "cli/measurement/bench_report.hpp"

#include <array>

#include <fmt/format.h>

#include "cli/console/units.hpp"
#include "core/log/escape.hpp"
#include "core/payload/text.hpp"

namespace backplane::cli {
namespace {

constexpr std::array<std::pair<const char*, double>, 5> percentiles{
    {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}, {"p99.99", 0.9999}}};

double seconds(std::chrono::nanoseconds duration) {
  return std::chrono::duration<double>(duration).count();
}

std::string quoted(const std::string& text) {
  std::string out;
  append_json_string(text, out);
  return out;
}

std::string three_digits(double value) {
  return value < 10    ? fmt::format("{:.2f}", value)
         : value < 100 ? fmt::format("{:.1f}", value)
                       : fmt::format("{:.0f}", value);
}

}  // namespace

std::string short_duration(std::chrono::nanoseconds duration) {
  const auto ns = static_cast<double>(duration.count());
  constexpr double us = 1e3;
  constexpr double ms = 1e6;
  constexpr double s = 1e9;
  if (ns < us) return fmt::format("{:.0f} ns", ns);
  if (ns < ms) return three_digits(ns / us) + " µs";
  if (ns < s) return three_digits(ns / ms) + " ms";
  return three_digits(ns / s) + " s";
}

std::vector<std::string> bench_text(const BenchReport& report) {
  std::vector<std::string> lines;
  const auto row = [&](std::string_view name, std::string_view value) {
    lines.push_back(fmt::format("{:<12}{}", name, value));
  };
  const Rates& rates = report.rates;
  row("bench " + report.bench, fmt::format("{}, {}", log::escape(report.place), log::escape(report.what)));
  row("events", fmt::format("{} in {}", grouped(rates.events()), short_duration(rates.elapsed())));
  row("rate", fmt::format("{} events/s, {}/s", short_rate(rates.events_per_second()),
                          short_bytes(static_cast<std::uint64_t>(rates.bytes_per_second()))));
  if (const Rates::Spread spread = rates.spread(); spread.max > 0) {
    row("by second", fmt::format("min {}, median {}, max {} events/s", short_rate(spread.min),
                                 short_rate(spread.median), short_rate(spread.max)));
  }
  if (report.durations.count() > 0) {
    std::string all;
    for (const auto& [name, part] : percentiles) {
      all += fmt::format("{} {}, ", name, short_duration(report.durations.percentile(part)));
    }
    row(report.measured, fmt::format("{}max {}", all, short_duration(report.durations.max())));
  }
  for (const auto& [name, number] : report.faults) {
    if (number > 0) row(name, counted(number, "event"));
  }
  return lines;
}

std::string bench_json(const BenchReport& report) {
  const Rates& rates = report.rates;
  const Rates::Spread spread = rates.spread();
  std::string out = fmt::format(
      "{{\"bench\":{},\"endpoint\":{},\"events\":{},\"bytes\":{},\"seconds\":{:.6f},\"events_per_second\":{:."
      "1f},"
      "\"bytes_per_second\":{:.1f},\"by_second\":{{\"min\":{:.0f},\"median\":{:.0f},\"max\":{:.0f}}}",
      quoted(report.bench), quoted(report.place), rates.events(), rates.bytes(), seconds(rates.elapsed()),
      rates.events_per_second(), rates.bytes_per_second(), spread.min, spread.median, spread.max);
  out += fmt::format(",\"{}_seconds\":{{\"samples\":{}", report.measured, report.durations.count());
  for (const auto& [name, part] : percentiles) {
    out += fmt::format(",\"{}\":{:.9f}", name, seconds(report.durations.percentile(part)));
  }
  out += fmt::format(",\"max\":{:.9f}}}", seconds(report.durations.max()));
  for (const auto& [name, number] : report.faults) out += fmt::format(",\"{}\":{}", name, number);
  return out + '}';
}

}  // namespace backplane::cli
