#pragma once
// When an event of a file has its turn.

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "core/error/error.hpp"

namespace backplane::cli {

/// Plays times of the past on a clock of now, so many times as fast. A value; pure.
class Playback {
 public:
  using Clock = std::chrono::steady_clock;

  /// @param speed  how many times as fast as it was, above 0; infinite: at once
  Playback(double speed, Clock::time_point start) : speed_(speed), start_(start) {}

  /// When an event of this Unix time is due. The first one is at once; time never goes back.
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
