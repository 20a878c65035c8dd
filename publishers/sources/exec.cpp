#include <cstdlib>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "backplane/events/v1/command_result.pb.h"
#include "core/time/duration.hpp"
#include "publishers/sources/command_run.hpp"
#include "publishers/sources/pace.hpp"
#include "publishers/sources/runner.hpp"
#include "publishers/sources/timestamp.hpp"

namespace backplane::sources {
namespace {

// Together with the second that the broker has to confirm pending events, a whole set of programs still exits
// within two seconds.
constexpr std::chrono::milliseconds grace{500};
constexpr std::int64_t never_ns = std::int64_t{1} << 62;

/// Runs a command, once or repeatedly. Lives on the source's thread.
class Exec {
 public:
  /// @param command begins with the program's path
  /// @param text the command as the user wrote it
  Exec(Runner& runner, const SourceOptions& options, const std::vector<std::string>& command,
       const std::string& text, std::chrono::nanoseconds limit)
      : runner_(runner), options_(options), command_(command), text_(text), limit_ns_(limit.count()) {}

  ExitCode run() {
    const std::int64_t start_ns = timer_.now_ns();
    for (;;) {
      const bool running = run_once();
      if (!options_.every) return std::max(runner_.finish(), clean_ ? ExitCode::done : ExitCode::failed);
      // Runs that would start while one is still active are skipped.
      const std::int64_t next_ns = start_ns + next_tick(timer_.now_ns() - start_ns, *options_.every);
      timer_.set(next_ns);
      if (!running || !runner_.wait({timer_.fd()})) return runner_.finish();
    }
  }

 private:
  /// @returns false if the source is to stop.
  bool run_once() {
    ++runs_;
    clean_ = false;
    const std::int64_t begin_ns = timer_.now_ns();
    events::v1::CommandResult result;
    result.set_command(text_);
    result.set_exit_code(-1);
    auto child = Child::start(command_);
    bool running = true;
    if (!child) {
      result.set_problem(child.error().text);
    } else {
      CommandRun run(std::move(*child), options_.max_event_bytes);
      running = follow(run, begin_ns, result);
    }
    result.set_duration_seconds(static_cast<double>(timer_.now_ns() - begin_ns) / 1e9);
    set_time(*result.mutable_time(), unix_now_ns());
    const std::string where = fmt::format("run {}", runs_);
    // Publish the result even if the source is to stop.
    const bool published = runner_.publish(where, options_.topic + ".exit", result) || runner_.lose(1);
    const std::string fault = fault_of(result);
    clean_ = fault.empty();
    if (!running || !published) {
      clean_ = true;  // the run was interrupted because the source stops
      return false;
    }
    return clean_ || runner_.bad_record(fmt::format("{}: {}: {}", where, text_, fault), "");
  }

  bool follow(CommandRun& run, std::int64_t begin_ns, events::v1::CommandResult& result) {
    const auto take = [this](CommandRun::Stream stream, const LineSplitter& line) {
      // After a signal, lines that are not published are counted, up to the last.
      return publish_line(stream, line) || runner_.lose(1);
    };
    const std::int64_t limit_at_ns = limit_ns_ == 0 ? never_ns : begin_ns + limit_ns_;
    timer_.set(limit_at_ns);
    bool running = true;
    while (running && !run.ended()) {
      running =
          runner_.wait({run.output_fd(), run.errors_fd(), run.exit_fd(), timer_.fd()}) && run.read(take);
      if (running && timer_.now_ns() >= limit_at_ns && !run.ended()) {
        result.set_timed_out(true);
        break;
      }
    }
    if (!run.ended()) running = run.terminate(grace, take) && running;
    running = run.finish(take) && running;
    if (const auto exit = run.exit()) {
      if (exit->signal == 0) result.set_exit_code(exit->code);
      result.set_signal(exit->signal);
    }
    return running;
  }

  bool publish_line(CommandRun::Stream stream, const LineSplitter& line) {
    const bool output = stream == CommandRun::Stream::output;
    const std::string where =
        fmt::format("run {}: {}: line {}", runs_, output ? "output" : "errors", line.number());
    if (line.too_long()) {
      return runner_.bad_record(
          fmt::format("{}: expected at most {} bytes, got more", where, options_.max_event_bytes));
    }
    return runner_.publish_text(where, output ? options_.topic : options_.topic + ".error", line.text());
  }

  [[nodiscard]] std::string fault_of(const events::v1::CommandResult& result) const {
    if (!result.problem().empty()) return result.problem();
    if (result.timed_out()) {
      return fmt::format("still running after {}; terminated",
                         format_duration(std::chrono::nanoseconds{limit_ns_}));
    }
    const Exit exit{.code = result.exit_code(), .signal = result.signal()};
    return exit.clean() ? "" : exit.str();
  }

  Runner& runner_;
  const SourceOptions& options_;
  const std::vector<std::string>& command_;
  const std::string& text_;
  std::int64_t limit_ns_;  // 0: none
  Timer timer_{CLOCK_MONOTONIC};
  std::uint64_t runs_{};
  bool clean_{};
};

}  // namespace

ExitCode run_exec(const SourceOptions& options, const ExecOptions& exec, Signals& signals) {
  if (options.topic.empty()) return wrong_usage("--topic: expected the topic of the output, got none");
  if (auto usable = check_source_topic(options.topic + ".error"); !usable) {
    return wrong_usage(usable.error().text);
  }
  if (options.every) {
    if (auto usable = check_every(*options.every); !usable) return wrong_usage(usable.error().text);
  }
  if (exec.command.empty()) return wrong_usage("command: expected one after --, got none");
  const char* const path = std::getenv("PATH");
  auto program = find_program(exec.command.front(), path != nullptr ? path : "/usr/bin:/bin");
  if (!program) return wrong_usage(program.error().text);
  std::vector<std::string> command = exec.command;
  command.front() = std::move(*program);
  constexpr std::chrono::nanoseconds usual_limit = std::chrono::minutes{1};
  const std::chrono::nanoseconds no_limit{0};
  const std::chrono::nanoseconds limit =
      exec.limit.value_or(options.every ? std::max(usual_limit, *options.every) : no_limit);
  const std::string text = fmt::format("{}", fmt::join(exec.command, " "));
  return run_source(options, "exec", signals,
                    [&](Runner& runner) { return Exec(runner, options, command, text, limit).run(); });
}

}  // namespace backplane::sources
