#pragma once
// Signals, and the end of the terminal or connection that started the process, as events that a loop can
// poll.

#include <cstdint>

#include "core/error/error.hpp"
#include "core/process/descriptor.hpp"

namespace backplane {

/// Takes over SIGINT, SIGTERM and SIGHUP for the whole process, and ignores SIGPIPE. Create one in main
/// before any thread starts, so that all threads inherit the signal mask. Exists as long as main runs.
///
/// A process also has to stop when nobody is left who could stop it:
/// - its terminal has closed. It gets SIGHUP, which is not to be mistaken for a request to reload;
/// - it was started without a terminal, by `ssh host command` or by another program, and that has gone: all
///   three standard streams are pipes or sockets, and all of them have been closed by the other side.
/// A process started by nohup, which ignores SIGHUP, continues in both cases.
class Signals {
 public:
  enum class Event { none, stop, reload };
  /// What SIGHUP means if the terminal is still there.
  enum class Hangup { reload, stop };

  /// Throws std::system_error if the kernel refuses.
  explicit Signals(Hangup hangup = Hangup::reload);
  ~Signals() = default;
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

  /// Readable when next() may have an event; for poll() and epoll. Call next() until it returns none.
  [[nodiscard]] int fd() const noexcept { return poll_.get(); }

  /// The next event, without blocking. SIGINT and SIGTERM are `stop`, each time. SIGHUP is `reload`, or as
  /// described above. The end of the terminal or of the starter is `stop`, but only if that is the first.
  [[nodiscard]] Event next() noexcept;

 private:
  void watch(int fd, std::uint32_t events);
  void watch_streams();
  [[nodiscard]] bool starter_gone() const noexcept;
  [[nodiscard]] bool terminal_gone() const noexcept;

  Hangup hangup_;
  bool survives_hangup_{};  // nohup
  bool had_terminal_{};
  bool watches_streams_{};
  bool stopping_{};
  Descriptor signals_;
  Descriptor poll_;  // an epoll set: the signals, and the streams
};

}  // namespace backplane
