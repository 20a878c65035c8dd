#include "core/time/duration.hpp"

#include <array>
#include <cstddef>
#include <limits>
#include <optional>

#include <fmt/format.h>

#include "core/log/escape.hpp"

namespace backplane {
namespace {

struct Unit {
  std::string_view name;
  std::int64_t ns;
};
// Largest first: format_duration() uses the first that divides.
constexpr std::array<Unit, 7> units{{{"d", 86'400'000'000'000},
                                     {"h", 3'600'000'000'000},
                                     {"m", 60'000'000'000},
                                     {"s", 1'000'000'000},
                                     {"ms", 1'000'000},
                                     {"us", 1'000},
                                     {"ns", 1}}};

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

/// whole.fraction units in nanoseconds, rounded down. Nothing if it does not fit.
std::optional<std::int64_t> scale(std::string_view whole, std::string_view fraction, std::int64_t unit_ns) {
  std::int64_t count = 0;
  for (const char digit : whole) {
    if (__builtin_mul_overflow(count, 10, &count) || __builtin_add_overflow(count, digit - '0', &count))
      return {};
  }
  std::int64_t total = 0;
  if (__builtin_mul_overflow(count, unit_ns, &total)) return {};
  std::int64_t place_ns = unit_ns;
  for (const char digit : fraction) {
    place_ns /= 10;
    if (__builtin_add_overflow(total, (digit - '0') * place_ns, &total)) return {};
  }
  return total;
}

/// Consumes a text from its front.
class Reader {
 public:
  explicit Reader(std::string_view text) : rest_(text) {}

  [[nodiscard]] bool at_end() const { return rest_.empty(); }
  [[nodiscard]] char peek() const { return rest_.empty() ? '\0' : rest_.front(); }

  bool take(char expected) {
    if (peek() != expected || rest_.empty()) return false;
    rest_.remove_prefix(1);
    return true;
  }

  std::string_view take_digits(std::size_t at_most = std::string_view::npos) {
    std::size_t count = 0;
    while (count < rest_.size() && count < at_most && is_digit(rest_[count])) ++count;
    const std::string_view digits = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return digits;
  }

  /// A number of `least` to `most` digits within low..high.
  std::optional<int> take_number(std::size_t least, std::size_t most, int low, int high) {
    const std::string_view digits = take_digits(most);
    if (digits.size() < least) return {};
    int number = 0;
    for (const char digit : digits) number = number * 10 + (digit - '0');
    if (number < low || number > high) return {};
    return number;
  }

  /// 1..12 for Jan..Dec.
  std::optional<unsigned> take_month_name() {
    constexpr std::string_view names = "JanFebMarAprMayJunJulAugSepOctNovDec";
    if (rest_.size() < 3) return {};
    for (std::size_t month = 0; month < 12; ++month) {
      if (rest_.starts_with(names.substr(month * 3, 3))) {
        rest_.remove_prefix(3);
        return static_cast<unsigned>(month + 1);
      }
    }
    return {};
  }

 private:
  std::string_view rest_;
};

// What fits in 64 bits of nanoseconds, less a year at either end, so that no offset leaves the range.
constexpr int year_min = 1678;
constexpr int year_max = 2261;

std::optional<std::int64_t> day_ns(int year, unsigned month, int day) {
  const std::chrono::year_month_day date{std::chrono::year{year}, std::chrono::month{month},
                                         std::chrono::day{static_cast<unsigned>(day)}};
  if (!date.ok()) return {};
  return std::chrono::sys_days(date).time_since_epoch().count() * units[0].ns;
}

/// `Jan 1 2000`
std::optional<std::int64_t> read_named_date(Reader reader) {
  const auto month = reader.take_month_name();
  if (!month || !reader.take(' ')) return {};
  const auto day = reader.take_number(1, 2, 1, 31);
  if (!day || !reader.take(' ')) return {};
  const auto year = reader.take_number(4, 4, year_min, year_max);
  if (!year || !reader.at_end()) return {};
  return day_ns(*year, *month, *day);
}

/// `Z`, `+01:00`, `-08:00` or nothing, as the offset to add to get UTC.
std::optional<std::int64_t> read_zone(Reader& reader) {
  if (reader.at_end() || reader.take('Z') || reader.take('z')) return 0;
  const bool east = reader.take('+');
  if (!east && !reader.take('-')) return {};
  const auto hours = reader.take_number(2, 2, 0, 23);
  if (!hours || !reader.take(':')) return {};
  const auto minutes = reader.take_number(2, 2, 0, 59);
  if (!minutes) return {};
  const std::int64_t offset = *hours * units[1].ns + *minutes * units[2].ns;
  return east ? -offset : offset;
}

/// `HH:MM[:SS[.fff]][zone]`
std::optional<std::int64_t> read_time_of_day(Reader& reader) {
  const auto hour = reader.take_number(2, 2, 0, 23);
  if (!hour || !reader.take(':')) return {};
  const auto minute = reader.take_number(2, 2, 0, 59);
  if (!minute) return {};
  std::int64_t ns = *hour * units[1].ns + *minute * units[2].ns;
  if (reader.take(':')) {
    const auto second = reader.take_number(2, 2, 0, 60);  // 60: a leap second is the next minute's first
    if (!second) return {};
    std::string_view fraction;
    if (reader.take('.')) {
      fraction = reader.take_digits();
      if (fraction.empty()) return {};
    }
    ns += *second * units[3].ns + scale("", fraction, units[3].ns).value_or(0);
  }
  const auto zone = read_zone(reader);
  if (!zone) return {};
  return ns + *zone;
}

/// `YYYY-MM-DD`, alone or with a time of day after `T`, `t` or a space.
std::optional<std::int64_t> read_date_and_time(Reader reader) {
  const auto year = reader.take_number(4, 4, year_min, year_max);
  if (!year || !reader.take('-')) return {};
  const auto month = reader.take_number(2, 2, 1, 12);
  if (!month || !reader.take('-')) return {};
  const auto day = reader.take_number(2, 2, 1, 31);
  if (!day) return {};
  const auto date_ns = day_ns(*year, static_cast<unsigned>(*month), *day);
  if (!date_ns || reader.at_end()) return date_ns;
  if (!reader.take('T') && !reader.take('t') && !reader.take(' ')) return {};
  const auto time_ns = read_time_of_day(reader);
  if (!time_ns || !reader.at_end()) return {};
  return *date_ns + *time_ns;
}

}  // namespace

Result<std::chrono::nanoseconds> parse_duration(std::string_view text, std::string_view where) {
  const auto wrong = [&](std::string_view expected) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("{}: expected {}, got \"{}\"", where, expected, log::escape(text)));
  };
  constexpr std::string_view form = "a duration such as 250ms, 5s or 10m";
  if (text == "0") return std::chrono::nanoseconds{0};
  std::size_t at = 0;
  while (at < text.size() && is_digit(text[at])) ++at;
  const std::string_view whole = text.substr(0, at);
  if (whole.empty()) return wrong(form);
  std::string_view fraction;
  if (at < text.size() && text[at] == '.') {
    const std::size_t begin = ++at;
    while (at < text.size() && is_digit(text[at])) ++at;
    fraction = text.substr(begin, at - begin);
    if (fraction.empty()) return wrong(form);
  }
  const std::string_view suffix = text.substr(at);
  for (const Unit& unit : units) {
    if (unit.name != suffix) continue;
    const auto ns = scale(whole, fraction, unit.ns);
    if (!ns) return wrong("a duration of at most 106751d");
    return std::chrono::nanoseconds{*ns};
  }
  return wrong(form);
}

std::string format_duration(std::chrono::nanoseconds duration) {
  const std::int64_t ns = duration.count();
  if (ns == 0) return "0s";
  for (const Unit& unit : units) {
    if (ns % unit.ns == 0) return fmt::format("{}{}", ns / unit.ns, unit.name);
  }
  return fmt::format("{}ns", ns);
}

std::string format_time(std::int64_t unix_ns) {
  std::string out;
  append_time(unix_ns, out);
  return out;
}

void append_time(std::int64_t unix_ns, std::string& out) {
  // Rounded down by hand: the midnight before the earliest time does not fit in 64 bits.
  const std::int64_t days = unix_ns / units[0].ns - (unix_ns % units[0].ns < 0 ? 1 : 0);
  const std::int64_t into_day = (unix_ns % units[0].ns + units[0].ns) % units[0].ns;
  const std::chrono::year_month_day date{std::chrono::sys_days{std::chrono::days{days}}};
  const auto second_of_day = static_cast<std::uint32_t>(into_day / units[3].ns);
  const auto ns = static_cast<std::uint32_t>(into_day % units[3].ns);
  // By hand, because every event in json has two of them, and fmt takes five times as long.
  std::array<char, 30> text;
  char* at = text.data();
  const auto digits = [&at](std::uint32_t number, std::ptrdiff_t count, char behind) {
    for (std::ptrdiff_t i = count; i-- > 0; number /= 10) at[i] = static_cast<char>('0' + number % 10);
    at[count] = behind;
    at += count + 1;
  };
  digits(static_cast<std::uint32_t>(static_cast<int>(date.year())), 4, '-');
  digits(static_cast<unsigned>(date.month()), 2, '-');
  digits(static_cast<unsigned>(date.day()), 2, 'T');
  digits(second_of_day / 3600, 2, ':');
  digits(second_of_day / 60 % 60, 2, ':');
  digits(second_of_day % 60, 2, ns == 0 ? 'Z' : '.');
  if (ns % 1'000 != 0) {
    digits(ns, 9, 'Z');
  } else if (ns % 1'000'000 != 0) {
    digits(ns / 1'000, 6, 'Z');
  } else if (ns != 0) {
    digits(ns / 1'000'000, 3, 'Z');
  }
  out.append(text.data(), static_cast<std::size_t>(at - text.data()));
}

Result<std::int64_t> parse_time(std::string_view text, std::string_view where) {
  if (const auto ns = read_named_date(Reader{text})) return *ns;
  if (const auto ns = read_date_and_time(Reader{text})) return *ns;
  return fail(
      ErrorCode::invalid_argument,
      fmt::format("{}: expected a time such as 2000-01-01T00:00:00Z, 2000-01-01 or Jan 1 2000, got \"{}\"",
                  where, log::escape(text)));
}

std::int64_t unix_now_ns() noexcept {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace backplane
