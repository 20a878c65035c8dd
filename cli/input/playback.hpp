#pragma once
// When each event of a file is due.

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "core/error/error.hpp"

namespace backplane::cli {

/// Maps recorded times to the present, at a multiple of their pace. A value; it never reads a clock.
class Playback {
 public:
  using Clock = std::chrono::steady_clock;

  /// @param speed  the multiple of the original pace, above 0; infinity: everything is due at once
  Playback(double speed, Clock::time_point start) : speed_(speed), start_(start) {}

  /// When an event with this Unix time is due. The first one is due at `start`; later ones are never due
  /// earlier than those before them.
  [[nodiscard]] Clock::time_point due(std::int64_t unix_ns);

 private:
  double speed_;
  Clock::time_point start_;
  std::optional<std::int64_t> first_ns_;
  Clock::time_point last_{};
};

/// Reads `10`, `0.5`, `10x` or `max`.
[[nodiscard]] Result<double> parse_speed(const std::string& text);

}  // namespace backplane::cli
