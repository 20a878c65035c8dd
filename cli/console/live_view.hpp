#pragma once
// What `topics` and `top` do until somebody presses q.

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
  /// Asks what there is to ask. Blocks, through the waiter.
  std::function<void()> read;
  /// What to show of what was read last.
  std::function<std::vector<ScreenLine>(ScreenSize)> draw;
};

/// Shows a view on the whole terminal, read anew each interval, until q or a signal: then `waiter` is
/// stopped. Keys and changes of the size are attended to while it reads, too. Throws where the terminal
/// cannot.
void show_live(const LiveView& view, Waiter& waiter);

/// Reads --every of a view. An error where it is not a duration of 100 ms to a day.
[[nodiscard]] Result<std::chrono::nanoseconds> parse_interval(const std::string& text);

}  // namespace backplane::cli
