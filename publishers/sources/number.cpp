#include "publishers/sources/number.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <string>

#include <fmt/format.h>

#include "core/json/object.hpp"

namespace backplane::sources {
namespace {

/// A decimal number: its digits without leading and trailing zeros, and where the point is in them.
struct Decimal {
  bool negative{};
  std::string digits;
  std::int64_t point{};
  friend bool operator==(const Decimal&, const Decimal&) = default;
};

/// @param text a JSON number. @returns nothing if its exponent is absurd.
std::optional<Decimal> decimal(std::string_view text) {
  constexpr std::size_t exponent_digits_max = 6;
  Decimal number;
  number.negative = text.starts_with('-');
  if (number.negative) text.remove_prefix(1);
  const std::size_t e = std::min(text.find_first_of("eE"), text.size());
  if (e < text.size()) {
    std::string_view exponent = text.substr(e + 1);
    if (exponent.starts_with('+')) exponent.remove_prefix(1);
    if (exponent.size() > exponent_digits_max) return {};
    std::from_chars(exponent.data(), exponent.data() + exponent.size(), number.point);
  }
  const std::string_view mantissa = text.substr(0, e);
  const std::size_t point = std::min(mantissa.find('.'), mantissa.size());
  number.point += static_cast<std::int64_t>(point);
  number.digits.append(mantissa.substr(0, point));
  if (point < mantissa.size()) number.digits.append(mantissa.substr(point + 1));
  const std::size_t zeros = std::min(number.digits.find_first_not_of('0'), number.digits.size());
  number.digits.erase(0, zeros);
  number.point -= static_cast<std::int64_t>(zeros);
  number.digits.erase(number.digits.find_last_not_of('0') + 1);
  if (number.digits.empty()) number.point = 0;
  return number;
}

bool looks_like_an_id(std::string_view text) {
  const std::size_t e = text.find_first_of("eE");
  if (e == std::string_view::npos) return false;
  const bool has_sign = text[e + 1] == '+' || text[e + 1] == '-';
  return !has_sign && text.substr(0, e).find('.') == std::string_view::npos;
}

}  // namespace

bool is_exact_number(std::string_view text) {
  if (!json::is_number(text) || looks_like_an_id(text)) return false;
  double value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec != std::errc{} || !std::isfinite(value)) return false;
  const auto written = decimal(text);
  return written && written == decimal(fmt::format("{}", value));
}

}  // namespace backplane::sources
