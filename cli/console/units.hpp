#pragma once
// Numbers in a form that fits a column.

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace backplane::cli {

/// 1234567 as 1,234,567.
[[nodiscard]] std::string grouped(std::uint64_t number);

/// `1 event`, `1,234 events`.
[[nodiscard]] std::string counted(std::uint64_t number, std::string_view thing);

/// At most five characters: up to 9999 exactly, then three digits and a unit: 12.3k, 123k, 1.23M.
[[nodiscard]] std::string short_count(std::uint64_t number);

/// The same for a rate; with one decimal below 10 ("0.5"), and "0" for no events.
[[nodiscard]] std::string short_rate(double per_second);

/// 999 B, 1.21 KiB, 12.3 MiB, 1.00 GiB: at most 8 characters.
[[nodiscard]] std::string short_bytes(std::uint64_t bytes);

/// 0.3s, 12s, 5m, 3h, 2d, rounded down. Negative ages, from clocks that differ, are 0.0s.
[[nodiscard]] std::string short_age(std::chrono::nanoseconds age);

/// The rate per second of a counter that went from `before` to `now` within `interval`; 0 if it went back,
/// because its program restarted, or if no time has passed.
[[nodiscard]] double rate(std::uint64_t now, std::uint64_t before, std::chrono::nanoseconds interval);

}  // namespace backplane::cli
