#pragma once
// The status line of `backplane up`.

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace backplane::cli {

/// The numbers in the line. All but `clients` only grow.
struct StatusNumbers {
  std::uint64_t events_in{};
  std::uint64_t deliveries_out{};
  std::uint64_t clients{};
};

/// `events in 1,234 (5/s)   deliveries out 56,789 (57/s)   clients 3`. Rates are measured since `before`, an
/// interval ago. A number that went back, because the broker restarted, has no rate.
[[nodiscard]] std::string status_text(const StatusNumbers& now, const std::optional<StatusNumbers>& before,
                                      std::chrono::nanoseconds interval);

/// One line on standard output: redrawn in place on a terminal, else printed every 10 s. Never blocks if
/// nobody reads. Belongs to one thread.
class StatusLine {
 public:
  using Clock = std::chrono::steady_clock;

  StatusLine();

  /// Redraws the line, or prints it if 10 s have passed since the last one.
  void show(std::string text, Clock::time_point now);

  /// Prints another line on standard error, and redraws the status below it.
  void print_error_line(std::string_view line);

  /// Ends the line, so that later output begins on a new one.
  void finish();

 private:
  void draw();
  void erase();

  bool terminal_;
  bool same_terminal_;
  bool drawn_{};
  std::string text_;
  Clock::time_point next_print_{};
};

}  // namespace backplane::cli
