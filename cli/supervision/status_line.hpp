#pragma once
// The live line of `backplane up`, and how it gets out of other lines' way.

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace backplane::cli {

/// What the line tells; all but `clients` only grow.
struct StatusNumbers {
  std::uint64_t events_in{};
  std::uint64_t deliveries_out{};
  std::uint64_t clients{};
};

/// `events in 1,234 (5/s)   deliveries out 56,789 (57/s)   clients 3`; the rates are those since `before`, an
/// interval ago. Numbers that went back (a new broker) have no rate.
[[nodiscard]] std::string status_text(const StatusNumbers& now, const std::optional<StatusNumbers>& before,
                                      std::chrono::nanoseconds interval);

/// One line on standard output: redrawn in place on a terminal, else printed now and then. Lives on one
/// thread.
class StatusLine {
 public:
  using Clock = std::chrono::steady_clock;

  StatusLine();

  /// Shows the line, or remembers it for when its time has come.
  void show(std::string text, Clock::time_point now);

  /// Prints another line on standard error, and the status below it again.
  void print_error_line(std::string_view line);

  /// Ends the line, so that what follows begins at the left.
  void finish();

 private:
  void draw();
  void erase();

  bool terminal_;
  bool drawn_{};
  std::string text_;
  Clock::time_point next_print_{};
};

}  // namespace backplane::cli
