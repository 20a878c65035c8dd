#pragma once
// One run of a command, and its output line by line.

#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "core/error/error.hpp"
#include "core/process/child.hpp"
#include "publishers/sources/line_splitter.hpp"

namespace backplane::sources {

/// One run of a command, in its own process group. Lives on one thread; owns the child process. When the
/// command has exited, the rest of the group is killed: no process of a run outlives it.
class CommandRun {
 public:
  enum class Stream { output, errors };
  /// Takes a line without its line end, or the notice that a line was too long. @returns false to stop.
  using TakeLine = std::function<bool(Stream, const LineSplitter& lines)>;

  CommandRun(Child child, std::size_t line_bytes_max)
      : child_(std::move(child)), output_(line_bytes_max), errors_(line_bytes_max) {}

  /// Readable when there is output, or (exit_fd) when the command has exited. Negative if the stream has
  /// ended.
  [[nodiscard]] int output_fd() noexcept { return output_.ended ? -1 : child_.output().fd(); }
  [[nodiscard]] int errors_fd() noexcept { return errors_.ended ? -1 : child_.errors().fd(); }
  [[nodiscard]] int exit_fd() const noexcept { return child_.exit_fd(); }

  /// Reads the available output, at most as much as a pipe can contain. @returns false if `take` did.
  [[nodiscard]] bool read(const TakeLine& take);
  /// Whether the command itself has exited.
  [[nodiscard]] bool ended() const;
  /// Sends SIGTERM to the group, keeps reading its output for at most `grace`, then kills the group.
  /// @returns false if `take` did.
  [[nodiscard]] bool terminate(std::chrono::milliseconds grace, const TakeLine& take);
  /// Must be called after the command has exited: reads the rest of the output. @returns false if `take` did.
  [[nodiscard]] bool finish(const TakeLine& take);
  /// How the command exited. Call it after finish().
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

/// The path of a program: `name` itself if it contains a slash, else its place in one of the folders of
/// `path` (in the form of PATH).
[[nodiscard]] Result<std::string> find_program(const std::string& name, std::string_view path);

}  // namespace backplane::sources
