#pragma once
// The log: one line per message on standard error, with time, level, component and text.

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include <fmt/core.h>

#include "core/error/error.hpp"

namespace backplane::log {

enum class Level : std::uint8_t { debug, info, warning, error, off };

/// Parses debug, info, warning, error or off.
Result<Level> parse_level(std::string_view text);

/// Lines below `level` are dropped before they are formatted. Any thread, at any time.
void set_level(Level level) noexcept;

/// Sets the component name: "broker", "gateway", … Call it once, before other threads start.
void set_program(std::string_view name);

[[nodiscard]] bool enabled(Level level) noexcept;

/// Writes one line. Control characters in `text` are escaped, so text from outside cannot forge a line. Does
/// not block: if nobody reads standard error, the line is dropped and counted (line_writer.hpp). Any thread.
void write(Level level, std::string_view text);

/// Lines dropped so far because they could not be written to standard error. Any thread.
[[nodiscard]] std::uint64_t dropped_lines() noexcept;

template <class... Args>
void debug(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::debug)) write(Level::debug, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void info(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::info)) write(Level::info, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void warning(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::warning)) write(Level::warning, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void error(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::error)) write(Level::error, fmt::format(format, std::forward<Args>(args)...));
}

/// Allows at most one line per interval, so that a flood of bad input does not flood the log. Not
/// thread-safe.
class RateLimit {
 public:
  using Clock = std::chrono::steady_clock;
  explicit RateLimit(std::chrono::milliseconds interval) : interval_(interval) {}

  /// @returns whether to log now. If so, suppressed() is the number of lines suppressed since the last one.
  [[nodiscard]] bool allow(Clock::time_point now);
  [[nodiscard]] std::uint64_t suppressed() const noexcept { return suppressed_; }

 private:
  std::chrono::milliseconds interval_;
  Clock::time_point next_{};
  std::uint64_t pending_{};
  std::uint64_t suppressed_{};
};

}  // namespace backplane::log
