#pragma once
// Waiting, for commands that can be told to end while they do.

#include <chrono>
#include <functional>
#include <span>
#include <vector>

namespace backplane::cli {

/// Waits for the descriptors that a command works with, and beside them for those that may end it: signals,
/// keys, a reader of its output that has gone. Lives on the main thread; owns no descriptor.
class Waiter {
 public:
  using Clock = std::chrono::steady_clock;

  /// Calls `handler` from wait() whenever `fd` is readable, or (`gone`) when the other side of it has closed.
  /// Both live until forget(fd), or outlive this.
  void on_readable(int fd, std::function<void()> handler);
  void on_gone(int fd, std::function<void()> handler);
  /// No more of that.
  void forget(int fd);

  /// Ends the wait, and makes every later one return at once.
  void stop() noexcept { stopped_ = true; }
  [[nodiscard]] bool stopped() const noexcept { return stopped_; }

  /// Blocks until one of `fds` is readable, something watched happened (its handler has been called), or
  /// `until` comes. @returns whether to go on: not stopped.
  bool wait(std::span<const int> fds, Clock::time_point until);
  /// The same, for one descriptor to be writable. @returns whether it is.
  bool wait_writable(int fd, Clock::time_point until);

 private:
  struct Watched {
    int fd;
    short events;
    std::function<void()> handler;
  };
  /// The first are those watched; @returns poll's answer.
  struct Waiting;
  void poll(Waiting& waiting, Clock::time_point until);

  std::vector<Watched> watched_;
  bool stopped_{};
};

}  // namespace backplane::cli
