#include "cli/input/playback.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <string_view>

#include <fmt/format.h>

namespace backplane::cli {

Playback::Clock::time_point Playback::due(std::int64_t unix_ns) {
  if (!first_ns_) first_ns_ = unix_ns;
  // Doubles cannot overflow, whatever times a damaged file has, and are exact to a microsecond in a day.
  const double after_ns = (static_cast<double>(unix_ns) - static_cast<double>(*first_ns_)) / speed_;
  constexpr double longest_ns = 1e9 * 3600 * 24 * 365;
  const auto after = std::chrono::nanoseconds{std::llround(std::clamp(after_ns, 0.0, longest_ns))};
  last_ = std::max(last_, start_ + std::chrono::duration_cast<Clock::duration>(after));
  return last_;
}

Result<double> parse_speed(const std::string& text) {
  if (text == "max") return std::numeric_limits<double>::infinity();
  std::string_view digits = text;
  if (digits.ends_with('x')) digits.remove_suffix(1);
  double speed = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), speed);
  constexpr double speed_max = 1e9;
  if (error == std::errc{} && end == digits.data() + digits.size() && speed > 0 && speed <= speed_max)
    return speed;
  return fail(ErrorCode::invalid_argument,
              fmt::format("--speed: expected a number above 0, such as 10 or 0.5, or max, got \"{}\"", text));
}

}  // namespace backplane::cli
