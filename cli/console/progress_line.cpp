#include "cli/console/progress_line.hpp"

#include <algorithm>

#include <fmt/format.h>
#include <unistd.h>

#include "cli/console/units.hpp"
#include "core/log/line_writer.hpp"

namespace backplane::cli {
namespace {

constexpr std::chrono::milliseconds first_after{500};
constexpr std::chrono::milliseconds interval{200};
constexpr std::string_view erase_line = "\r\x1b[K";

}  // namespace

ProgressLine::ProgressLine(std::string_view what)
    : what_(what), terminal_(::isatty(STDERR_FILENO) == 1), next_(Clock::now() + first_after) {}

void ProgressLine::show(std::uint64_t bytes, std::uint64_t bytes_all, Clock::time_point now) {
  if (!due(now)) return;
  constexpr std::uint64_t percent = 100;
  const std::uint64_t part = std::max<std::uint64_t>(bytes_all / percent, 1);
  draw(fmt::format("{} of {} ({} %)", short_bytes(bytes), short_bytes(bytes_all),
                   std::min(bytes / part, percent)),
       now);
}

void ProgressLine::show_text(std::string_view text, Clock::time_point now) {
  if (due(now)) draw(text, now);
}

void ProgressLine::draw(std::string_view text, Clock::time_point now) {
  next_ = now + interval;
  log::standard_error().write_uncounted(fmt::format("{}{}: {}", erase_line, what_, text));
  drawn_ = true;
}

void ProgressLine::erase() {
  if (!drawn_) return;
  drawn_ = false;
  log::standard_error().write_uncounted(erase_line);
}

}  // namespace backplane::cli
