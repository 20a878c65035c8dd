#pragma once
// A child process, started and owned by this one.

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

#include "core/error/error.hpp"

namespace backplane {

/// How a process ended.
struct Exit {
  int code{};    ///< the exit code, if it exited by itself
  int signal{};  ///< not 0: the signal that killed it

  [[nodiscard]] bool clean() const noexcept { return code == 0 && signal == 0; }
  /// `exit code 1`, or `signal 9 (Killed)`.
  [[nodiscard]] std::string str() const;
};

/// Reads complete lines from a pipe without blocking. Owns the descriptor. Not thread-safe.
class LinePipe {
 public:
  /// Longer lines come in pieces of this size.
  static constexpr std::size_t line_bytes_max = 16u << 10;

  explicit LinePipe(int fd) noexcept : fd_(fd) {}
  ~LinePipe();
  LinePipe(LinePipe&& other) noexcept;
  LinePipe& operator=(LinePipe&& other) noexcept;

  /// For poll(); -1 when the other side has closed and everything is read.
  [[nodiscard]] int fd() const noexcept { return fd_; }

  /// The next line without its line end, or nothing for now. Includes what was written before the other side
  /// closed, even without a line end.
  [[nodiscard]] std::optional<std::string> next();

 private:
  void close() noexcept;
  int fd_;
  std::string buffer_;
};

/// A child process. It has a process group of its own, so that Ctrl-C at the terminal reaches only its
/// parent, and it gets SIGTERM when the thread that started it ends for any reason. Standard input is empty;
/// standard output and standard error are pipes. Not thread-safe. The destructor kills the process (SIGKILL)
/// and waits for its end.
class Child {
 public:
  /// @param arguments the program's path (PATH is not searched), then its arguments.
  /// @returns the running child; or not_found or io with the program's name.
  static Result<Child> start(const std::vector<std::string>& arguments);

  ~Child();
  Child(Child&& other) noexcept;
  Child& operator=(Child&& other) noexcept;

  [[nodiscard]] pid_t pid() const noexcept { return pid_; }
  /// Readable when the process has ended; for poll().
  [[nodiscard]] int exit_fd() const noexcept { return pid_fd_; }
  [[nodiscard]] LinePipe& output() noexcept { return output_; }
  [[nodiscard]] LinePipe& errors() noexcept { return errors_; }

  /// Sends a signal. Does nothing if the process has ended.
  void signal(int number) noexcept;

  /// How it ended, if it has; waits at most `timeout` for that.
  [[nodiscard]] std::optional<Exit> wait(std::chrono::milliseconds timeout);

 private:
  Child(pid_t pid, int pid_fd, int output, int errors) noexcept
      : pid_(pid), pid_fd_(pid_fd), output_(output), errors_(errors) {}
  void end() noexcept;

  pid_t pid_;
  int pid_fd_;  ///< -1: moved from
  LinePipe output_;
  LinePipe errors_;
  std::optional<Exit> exit_{};
};

/// The path of the running program's executable. Throws std::system_error if /proc is missing.
std::string own_executable();

}  // namespace backplane
