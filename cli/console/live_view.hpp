#pragma once
// A full-screen view that is redrawn at an interval, for `topics` and `top`.

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "cli/connection/waiter.hpp"
#include "cli/console/screen.hpp"
#include "core/error/error.hpp"

namespace backplane::cli {

struct LiveView {
  std::chrono::nanoseconds interval;
  /// Takes a new reading. Blocks in the waiter.
  std::function<void()> read;
  /// The lines that show the last reading.
  std::function<std::vector<ScreenLine>(ScreenSize)> draw;
};

/// Shows a view on the whole screen, and redraws it at each interval. Blocks until `q` is pressed, which
/// stops `waiter`, or until a signal does. Handles keys and changes of the size while it reads. Throws
/// std::runtime_error if the terminal cannot show a full screen.
void show_live(const LiveView& view, Waiter& waiter);

/// Parses --every of a view. @returns an error unless it is a duration of 100 ms to 24 h.
[[nodiscard]] Result<std::chrono::nanoseconds> parse_interval(const std::string& text);

}  // namespace backplane::cli
