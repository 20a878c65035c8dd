#pragma once
// Signals as something that a loop can wait for.

#include "core/error/error.hpp"

namespace backplane {

/// Takes over SIGINT, SIGTERM and SIGHUP for the whole process, and ignores SIGPIPE. Make one in
/// main before any thread starts, so that all of them inherit the mask. Lives as long as main.
class Signals {
 public:
  enum class Event { none, stop, reload };

  /// Throws std::system_error where the kernel refuses.
  Signals();
  ~Signals();
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

  /// Readable when a signal waits: for poll and epoll.
  [[nodiscard]] int fd() const noexcept { return fd_; }

  /// The next signal that waits, without blocking. SIGINT and SIGTERM are `stop`, SIGHUP is `reload`.
  [[nodiscard]] Event next() noexcept;

 private:
  int fd_;
};

}  // namespace backplane
