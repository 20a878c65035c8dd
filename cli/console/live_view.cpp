#include "cli/console/live_view.hpp"

#include <fmt/format.h>

#include "core/time/duration.hpp"

namespace backplane::cli {

void show_live(const LiveView& view, Waiter& waiter) {
  using namespace std::chrono_literals;
  Screen screen;
  const auto draw = [&] { screen.show(view.draw(screen.size())); };
  waiter.on_readable(Screen::fd(), [&] {
    for (auto key = screen.key(); key != Screen::Key::none; key = screen.key()) {
      if (key == Screen::Key::quit) waiter.stop();
    }
  });
  waiter.on_hangup(Screen::fd(), [&] { waiter.stop(); });  // the terminal has closed
  draw();
  ScreenSize shown = screen.size();
  while (!waiter.stopped()) {
    const auto next =
        Waiter::Clock::now() + std::chrono::duration_cast<Waiter::Clock::duration>(view.interval);
    view.read();
    if (waiter.stopped()) break;
    draw();
    // A change of the size interrupts the wait. curses updates size() when it has read the key for it.
    while (waiter.wait({}, next) && Waiter::Clock::now() < next) {
      (void)screen.key();
      const ScreenSize now = screen.size();
      if (now.rows == shown.rows && now.columns == shown.columns) continue;
      shown = now;
      draw();
    }
  }
  waiter.remove(Screen::fd());
}

Result<std::chrono::nanoseconds> parse_interval(const std::string& text) {
  using namespace std::chrono_literals;
  auto interval = parse_duration(text, "--every");
  if (!interval) return interval;
  if (*interval < 100ms || *interval > 24h) {
    return fail(ErrorCode::invalid_argument, fmt::format("--every: expected 100ms to 24h, got \"{}\"", text));
  }
  return interval;
}

}  // namespace backplane::cli
