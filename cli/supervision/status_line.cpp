#include "cli/supervision/status_line.hpp"

#include <cmath>
#include <cstdio>

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/console/units.hpp"

namespace backplane::cli {
namespace {

/// The interval if standard output is not a terminal: the lines end up in a log.
constexpr std::chrono::seconds print_every{10};

/// Unlike fmt::print(), it does not throw if the reader has exited.
void write(std::FILE* file, const std::string& text) {
  std::fputs(text.c_str(), file);
  std::fflush(file);
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

StatusLine::StatusLine() : terminal_(::isatty(STDOUT_FILENO) == 1) {}

void StatusLine::show(std::string text, Clock::time_point now) {
  text_ = std::move(text);
  if (terminal_) {
    erase();
    draw();
  } else if (now >= next_print_) {
    next_print_ = now + print_every;
    write(stdout, text_ + '\n');
  }
}

void StatusLine::print_error_line(std::string_view line) {
  const bool was_drawn = drawn_;
  erase();
  write(stderr, std::string(line) + '\n');
  if (was_drawn) draw();
}

void StatusLine::finish() {
  if (drawn_) write(stdout, "\n");
  drawn_ = false;
}

void StatusLine::draw() {
  write(stdout, text_.substr(0, columns() - 1));
  drawn_ = true;
}

void StatusLine::erase() {
  if (!drawn_) return;
  write(stdout, "\r\x1b[2K");
  drawn_ = false;
}

}  // namespace backplane::cli
