#pragma once
// Durations and points in time as people write them.

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/error/error.hpp"

namespace backplane {

/// Parses `250ms`, `5s`, `10m`, `1h`, `2d`, `1.5s`, `100us`; no white space; a unit is required (except for
/// 0). `where` begins the error: `--every: expected a duration such as 250ms, 5s or 10m, got "5"`.
Result<std::chrono::nanoseconds> parse_duration(std::string_view text, std::string_view where);

/// The shortest exact form that parse_duration() accepts: 1500ms → "1500ms", 60s → "1m", 0 → "0s".
std::string format_duration(std::chrono::nanoseconds duration);

/// Unix nanoseconds as RFC 3339 in UTC, with 0, 3, 6 or 9 decimals as needed, like protobuf's JSON.
std::string format_time(std::int64_t unix_ns);
/// The same, appended to `out`.
void append_time(std::int64_t unix_ns, std::string& out);

/// Parses RFC 3339 (`2000-01-01T00:00:00Z`, with or without offset), `YYYY-MM-DD`, `YYYY-MM-DD[T
/// ]HH:MM[:SS[.fff]]` (UTC), and `Jan 1 2000`. @returns Unix nanoseconds.
Result<std::int64_t> parse_time(std::string_view text, std::string_view where);

/// The current time in Unix nanoseconds.
[[nodiscard]] std::int64_t unix_now_ns() noexcept;

}  // namespace backplane
