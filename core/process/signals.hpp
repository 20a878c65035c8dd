#pragma once
// Signals as events that a loop can poll.

#include "core/error/error.hpp"

namespace backplane {

/// Takes over SIGINT, SIGTERM and SIGHUP for the whole process, and ignores SIGPIPE. Create one in main
/// before any thread starts, so that all threads inherit the signal mask. Exists as long as main runs.
class Signals {
 public:
  enum class Event { none, stop, reload };

  /// Throws std::system_error if the kernel refuses.
  Signals();
  ~Signals();
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

  /// Readable when a signal is pending; for poll() and epoll.
  [[nodiscard]] int fd() const noexcept { return fd_; }

  /// The next pending signal, without blocking. SIGINT and SIGTERM are `stop`, SIGHUP is `reload`.
  [[nodiscard]] Event next() noexcept;

 private:
  int fd_;
};

}  // namespace backplane
