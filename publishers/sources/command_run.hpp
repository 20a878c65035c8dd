#pragma once
// A command whose output becomes events.

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/error/error.hpp"
#include "core/process/child.hpp"
#include "publishers/sources/line_splitter.hpp"

namespace backplane::sources {

/// One run of a command, in a process group of its own. Lives on one thread; owns the child. What is left of
/// the group when the command has ended is killed: nothing of a run outlives it.
class CommandRun {
 public:
  enum class Stream { output, errors };
  /// A line without its end, or that one was too long. @returns false where no more are wanted.
  using TakeLine = std::function<bool(Stream, const LineSplitter& lines)>;

  CommandRun(Child child, std::size_t line_bytes_max)
      : child_(std::move(child)), output_(line_bytes_max), errors_(line_bytes_max) {}

  /// Readable when there is output or the command has ended; negative: that stream has ended.
  [[nodiscard]] int output_fd() noexcept { return output_.ended ? -1 : child_.output().fd(); }
  [[nodiscard]] int errors_fd() noexcept { return errors_.ended ? -1 : child_.errors().fd(); }
  [[nodiscard]] int exit_fd() const noexcept { return child_.exit_fd(); }

  /// Takes what is there, a pipe's fill at most. @returns false where `take` did.
  [[nodiscard]] bool read(const TakeLine& take);
  /// Whether the command itself has ended.
  [[nodiscard]] bool ended() const;
  /// Asks the group to end (SIGTERM), goes on taking its output for at most `grace`, then kills it.
  /// @returns false where `take` did.
  [[nodiscard]] bool terminate(std::chrono::milliseconds grace, const TakeLine& take);
  /// To be called when it has ended: takes the rest of the output. @returns false where `take` did.
  [[nodiscard]] bool finish(const TakeLine& take);
  /// How it ended, after finish().
  [[nodiscard]] std::optional<Exit> exit() { return child_.wait(std::chrono::seconds{1}); }

 private:
  struct Output {
    explicit Output(std::size_t line_bytes_max) : lines(line_bytes_max) {}
    LineSplitter lines;
    bool ended{};
  };
  [[nodiscard]] bool read_stream(Stream stream, const TakeLine& take);
  void signal_group(int number) noexcept;

  Child child_;
  Output output_;
  Output errors_;
};

/// Where a program is: `name` itself where it has a slash, else in one of the folders of `path` (as in PATH).
[[nodiscard]] Result<std::string> find_program(const std::string& name, std::string_view path);

}  // namespace backplane::sources
