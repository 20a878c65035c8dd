#pragma once
// One line a message on standard error: time, level, component, text.

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include <fmt/core.h>

#include "core/error/error.hpp"

namespace backplane::log {

enum class Level : std::uint8_t { debug, info, warning, error, off };

/// Accepts debug, info, warning, error and off.
Result<Level> parse_level(std::string_view text);

/// Lines below `level` are dropped before they are formatted. Safe from any thread, at any time.
void set_level(Level level) noexcept;

/// Says who speaks: "broker", "gateway", … Once, before other threads start.
void set_program(std::string_view name);

[[nodiscard]] bool enabled(Level level) noexcept;

/// Writes one line; control characters in `text` are escaped, so what comes from outside cannot forge
/// a line. May block on standard error. Safe from any thread.
void write(Level level, std::string_view text);

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

/// Lets a line through at most once an interval, so that a flood of bad input does not become a flood
/// of lines. Belongs to one thread.
class RateLimit {
 public:
  using Clock = std::chrono::steady_clock;
  explicit RateLimit(std::chrono::milliseconds interval) : interval_(interval) {}

  /// @returns whether to log now; then `suppressed()` tells how many were not since the last time.
  [[nodiscard]] bool allow(Clock::time_point now);
  [[nodiscard]] std::uint64_t suppressed() const noexcept { return suppressed_; }

 private:
  std::chrono::milliseconds interval_;
  Clock::time_point next_{};
  std::uint64_t pending_{};
  std::uint64_t suppressed_{};
};

}  // namespace backplane::log
