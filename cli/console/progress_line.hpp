#pragma once
// How far a long command has come.

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace backplane::cli {

/// One line on standard error that is redrawn in place; nothing if that is no terminal. It appears after half
/// a second. Never blocks if nobody reads. Belongs to one thread.
class ProgressLine {
 public:
  using Clock = std::chrono::steady_clock;

  /// @param what  begins the line: `store verify`
  explicit ProgressLine(std::string_view what);
  ~ProgressLine() { erase(); }
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  /// Redraws the line if it is time.
  void show(std::uint64_t bytes, std::uint64_t bytes_all, Clock::time_point now);
  /// Whether it is time, for texts that are costly to make.
  [[nodiscard]] bool due(Clock::time_point now) const noexcept { return terminal_ && now >= next_; }
  /// Redraws the line with a text.
  void show_text(std::string_view text, Clock::time_point now);
  /// Before other output to the terminal.
  void erase();

 private:
  void draw(std::string_view text, Clock::time_point now);

  std::string what_;
  bool terminal_;
  bool drawn_{};
  Clock::time_point next_;
};

}  // namespace backplane::cli
