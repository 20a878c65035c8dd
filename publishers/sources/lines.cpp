#include <array>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "publishers/sources/line_splitter.hpp"
#include "publishers/sources/pace.hpp"
#include "publishers/sources/runner.hpp"

namespace backplane::sources {
namespace {

/// Also if the terminal has closed: then isatty() would say no.
bool is_terminal(int fd) {
  struct stat file {};
  return ::fstat(fd, &file) == 0 && S_ISCHR(file.st_mode);
}

/// @returns false if the source is to stop.
bool publish_line(Runner& runner, const SourceOptions& options, const LineSplitter& lines) {
  const std::string where = fmt::format("line {}", lines.number());
  if (lines.too_long()) {
    return runner.bad_record(
        fmt::format("{}: expected at most {} bytes, got more", where, options.max_event_bytes));
  }
  return runner.publish_text(where, options.topic, lines.text());
}

/// Counts what was read and will not be published.
void lose_rest(Runner& runner, LineSplitter& lines, bool took_one) {
  std::uint64_t count = took_one ? 1 : 0;
  while (lines.take_line()) ++count;
  if (lines.take_rest()) ++count;
  (void)runner.lose(count);
}

ExitCode read_lines(Runner& runner, const SourceOptions& options, int input, std::optional<double> rate) {
  Timer timer(CLOCK_MONOTONIC);
  EvenPace pace(rate.value_or(1), timer.now_ns());
  LineSplitter lines(options.max_event_bytes);
  std::array<char, 64u << 10> buffer;
  while (runner.wait({input})) {
    ssize_t got = ::read(input, buffer.data(), buffer.size());
    if (got < 0 && errno == EIO && is_terminal(input)) got = 0;  // it has closed
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got < 0) return runner.fail(fmt::format("cannot read the input: {}", std::strerror(errno)));
    if (got == 0) {
      // If the last line cannot be published, finish() accounts for it.
      if (lines.take_rest()) (void)publish_line(runner, options, lines);
      break;
    }
    lines.feed({buffer.data(), static_cast<std::size_t>(got)});
    while (lines.take_line()) {
      if ((rate && !runner.wait_until(timer, pace.next(timer.now_ns()))) ||
          !publish_line(runner, options, lines)) {
        lose_rest(runner, lines, true);
        return runner.finish();
      }
    }
  }
  lose_rest(runner, lines, false);
  return runner.finish();
}

}  // namespace

ExitCode run_lines(const SourceOptions& options, const LinesOptions& lines, Signals& signals) {
  if (options.topic.empty()) return wrong_usage("--topic: expected the topic of the lines, got none");
  if (auto usable = check_source_topic(options.topic); !usable) return wrong_usage(usable.error().text);
  const auto rate = even_rate(options, {});
  if (!rate) return wrong_usage(rate.error().text);
  return run_source(options, "lines", signals,
                    [&](Runner& runner) { return read_lines(runner, options, lines.input, *rate); });
}

}  // namespace backplane::sources
