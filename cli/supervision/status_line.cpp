#include "cli/supervision/status_line.hpp"

#include <cmath>

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/console/units.hpp"
#include "core/log/line_writer.hpp"

namespace backplane::cli {
namespace {

/// The interval if standard output is not a terminal: the lines end up in a log.
constexpr std::chrono::seconds print_every{10};

/// Whether standard error is the terminal that standard output is.
bool errors_go_to_same_terminal() {
  struct stat output {};
  struct stat errors {};
  return ::isatty(STDERR_FILENO) == 1 && ::fstat(STDOUT_FILENO, &output) == 0 &&
         ::fstat(STDERR_FILENO, &errors) == 0 && output.st_rdev == errors.st_rdev;
}

std::string rate_text(std::uint64_t now, std::uint64_t before, std::chrono::nanoseconds interval) {
  if (now < before || interval.count() <= 0) return "";
  return fmt::format(" ({}/s)",
                     grouped(static_cast<std::uint64_t>(std::llround(rate(now, before, interval)))));
}

/// The columns of the terminal. A longer line would wrap, and could not be redrawn.
std::size_t columns() {
  winsize size{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

}  // namespace

std::string status_text(const StatusNumbers& now, const std::optional<StatusNumbers>& before,
                        std::chrono::nanoseconds interval) {
  std::string in_rate;
  std::string out_rate;
  if (before) {
    in_rate = rate_text(now.events_in, before->events_in, interval);
    out_rate = rate_text(now.deliveries_out, before->deliveries_out, interval);
  }
  return fmt::format("events in {}{}   deliveries out {}{}   clients {}", grouped(now.events_in), in_rate,
                     grouped(now.deliveries_out), out_rate, grouped(now.clients));
}

StatusLine::StatusLine()
    : terminal_(::isatty(STDOUT_FILENO) == 1), same_terminal_(terminal_ && errors_go_to_same_terminal()) {}

void StatusLine::show(std::string text, Clock::time_point now) {
  text_ = std::move(text);
  if (!log::standard_output().idle()) return;  // nobody reads it, or the terminal is stopped (Ctrl-S)
  if (terminal_) {
    erase();
    draw();
  } else if (now >= next_print_) {
    next_print_ = now + print_every;
    log::standard_output().write_uncounted(text_ + '\n');
  }
}

void StatusLine::print_error_line(std::string_view line) {
  if (!same_terminal_) {
    log::standard_error().write(std::string(line) + '\n');
    return;
  }
  // One queue keeps the order.
  const bool was_drawn = drawn_;
  erase();
  log::standard_output().write(std::string(line) + '\n');
  if (was_drawn) draw();
}

void StatusLine::finish() {
  if (drawn_) log::standard_output().write_uncounted("\n");
  drawn_ = false;
}

void StatusLine::draw() {
  log::standard_output().write_uncounted(text_.substr(0, columns() - 1));
  drawn_ = true;
}

void StatusLine::erase() {
  if (!drawn_) return;
  log::standard_output().write_uncounted("\r\x1b[2K");
  drawn_ = false;
}

}  // namespace backplane::cli
