#pragma once
// Waiting that can be interrupted.

#include <chrono>
#include <functional>
#include <span>
#include <vector>

namespace backplane::cli {

/// Waits for a command's own descriptors, and at the same time for those that may end it: signals, keys, the
/// pipe of its output. Lives on the main thread; owns no descriptor.
class Waiter {
 public:
  using Clock = std::chrono::steady_clock;

  /// Makes wait() call `handler` whenever `fd` is readable, or (on_hangup) when its other end has closed.
  /// Both must be valid until remove(fd), or as long as this.
  void on_readable(int fd, std::function<void()> handler);
  void on_hangup(int fd, std::function<void()> handler);
  /// Ends on_readable() and on_hangup() of this descriptor.
  void remove(int fd);

  /// Ends the present wait, and makes every later one return at once.
  void stop() noexcept { stopped_ = true; }
  [[nodiscard]] bool stopped() const noexcept { return stopped_; }

  /// Blocks until one of `fds` is readable, a handler was called, or `until` is reached. It may return early.
  /// @returns false if stopped.
  bool wait(std::span<const int> fds, Clock::time_point until);
  /// The same for one descriptor to become writable. @returns whether it is.
  bool wait_writable(int fd, Clock::time_point until);

 private:
  struct Watched {
    int fd;
    short events;
    std::function<void()> handler;
  };
  /// The descriptors to poll: first those of watched_.
  struct Waiting;
  void poll(Waiting& waiting, Clock::time_point until);

  std::vector<Watched> watched_;
  bool stopped_{};
};

}  // namespace backplane::cli
