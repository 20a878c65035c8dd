#include "cli/console/units.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <span>
#include <string_view>

#include <fmt/format.h>

namespace backplane::cli {
namespace {

/// Three digits in the first unit that needs no more than three before the decimal point. `step` is the
/// factor between units.
std::string three_digits(double number, double step, std::span<const std::string_view> units) {
  std::size_t unit = 0;
  // 999.5 would be rounded to 1000.
  while (number >= 999.5 && unit + 1 < units.size()) {
    number /= step;
    ++unit;
  }
  const int decimals = number < 9.995 ? 2 : number < 99.95 ? 1 : 0;
  return fmt::format("{:.{}f}{}", number, decimals, units[unit]);
}

constexpr std::array<std::string_view, 6> counts{"", "k", "M", "G", "T", "P"};
constexpr std::array<std::string_view, 6> bytes_units{" B", " KiB", " MiB", " GiB", " TiB", " PiB"};

}  // namespace

std::string grouped(std::uint64_t number) {
  const std::string digits = fmt::format("{}", number);
  std::string out;
  for (std::size_t at = 0; at < digits.size(); ++at) {
    if (at > 0 && (digits.size() - at) % 3 == 0) out += ',';
    out += digits[at];
  }
  return out;
}

std::string counted(std::uint64_t number, std::string_view thing) {
  return fmt::format("{} {}{}", grouped(number), thing, number == 1 ? "" : "s");
}

std::string short_count(std::uint64_t number) {
  if (number < 10'000) return fmt::format("{}", number);
  return three_digits(static_cast<double>(number), 1000, counts);
}

std::string short_rate(double per_second) {
  if (!(per_second > 0)) return "0";
  if (per_second < 9.95) return fmt::format("{:.1f}", per_second);
  constexpr double rate_max = 1e18;
  return short_count(static_cast<std::uint64_t>(std::llround(std::min(per_second, rate_max))));
}

std::string short_bytes(std::uint64_t bytes) {
  if (bytes < 1000) return fmt::format("{} B", bytes);
  return three_digits(static_cast<double>(bytes), 1024, bytes_units);
}

std::string short_age(std::chrono::nanoseconds age) {
  using namespace std::chrono;
  if (age < 0ns) age = 0ns;
  if (age < 10s) return fmt::format("{:.1f}s", std::floor(duration<double>(age).count() * 10) / 10);
  if (age < 1min) return fmt::format("{}s", duration_cast<seconds>(age).count());
  if (age < 1h) return fmt::format("{}m", duration_cast<minutes>(age).count());
  if (age < days{1}) return fmt::format("{}h", duration_cast<hours>(age).count());
  return fmt::format("{}d", duration_cast<days>(age).count());
}

double rate(std::uint64_t now, std::uint64_t before, std::chrono::nanoseconds interval) {
  if (now < before || interval.count() <= 0) return 0;
  return static_cast<double>(now - before) / std::chrono::duration<double>(interval).count();
}

}  // namespace backplane::cli
