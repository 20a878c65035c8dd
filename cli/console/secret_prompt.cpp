#include "cli/console/secret_prompt.hpp"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

#include <fmt/format.h>
#include <poll.h>
#include <termios.h>
#include <unistd.h>

namespace backplane::cli {
namespace {

volatile std::sig_atomic_t received_signal = 0;

void remember_signal(int number) {
  received_signal = number;
}

/// Remembers signals that would end the program, as long as it exists. Then it raises the last one again.
class DeferredSignals {
 public:
  DeferredSignals() {
    received_signal = 0;
    sigset_t deferred;
    ::sigemptyset(&deferred);
    for (const int number : numbers) ::sigaddset(&deferred, number);
    ::pthread_sigmask(SIG_BLOCK, &deferred, &mask_before_);
    struct sigaction action {};
    action.sa_handler = remember_signal;
    for (std::size_t at = 0; at < numbers.size(); ++at) ::sigaction(numbers[at], &action, &before_[at]);
  }
  ~DeferredSignals() {
    for (std::size_t at = 0; at < numbers.size(); ++at) ::sigaction(numbers[at], &before_[at], nullptr);
    ::pthread_sigmask(SIG_SETMASK, &mask_before_, nullptr);
    if (received_signal != 0) ::raise(received_signal);
  }
  DeferredSignals(const DeferredSignals&) = delete;
  DeferredSignals& operator=(const DeferredSignals&) = delete;

  /// Waits until `fd` is readable. @returns whether it is: not if a signal came first, even before the call.
  [[nodiscard]] bool wait_readable(int fd) const {
    pollfd readable{fd, POLLIN, 0};
    while (received_signal == 0) {
      const int ready = ::ppoll(&readable, 1, nullptr, &mask_before_);
      if (ready > 0) return true;
      if (ready < 0 && errno != EINTR) return false;
    }
    return false;
  }

 private:
  static constexpr std::array numbers{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
  std::array<struct sigaction, numbers.size()> before_{};
  sigset_t mask_before_{};
};

/// A terminal that does not show what is typed, as long as this exists.
class HiddenInput {
 public:
  explicit HiddenInput(int terminal) : terminal_(terminal) {
    if (::tcgetattr(terminal, &before_) != 0) return;
    termios hidden = before_;
    hidden.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    hidden.c_lflag |= ICANON;
    hidden.c_cc[VSUSP] = _POSIX_VDISABLE;  // a stopped program could not restore the terminal
    hidden_ = ::tcsetattr(terminal, TCSAFLUSH, &hidden) == 0;
  }
  ~HiddenInput() {
    if (hidden_) ::tcsetattr(terminal_, TCSAFLUSH, &before_);
  }
  HiddenInput(const HiddenInput&) = delete;
  HiddenInput& operator=(const HiddenInput&) = delete;

  explicit operator bool() const { return hidden_; }

 private:
  int terminal_;
  termios before_{};
  bool hidden_{};
};

void write_text(const std::string& text) {
  // Not through the log's writer: the prompt has no line end. If nobody sees it, that is no error.
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
}

Result<std::string> read_line(const DeferredSignals& signals) {
  std::string line;
  for (;;) {
    if (!signals.wait_readable(STDIN_FILENO)) return fail(ErrorCode::io, "a signal came first");
    char c = 0;
    const ssize_t bytes = ::read(STDIN_FILENO, &c, 1);
    if (bytes < 0) return fail(ErrorCode::io, std::strerror(errno));
    if (bytes == 0) return fail(ErrorCode::io, "the terminal has ended");
    if (c == '\n') return line;
    line += c;
  }
}

}  // namespace

Result<std::string> prompt_for_secret(const std::string& prompt) {
  if (::isatty(STDIN_FILENO) != 1) {
    return fail(ErrorCode::invalid_argument, "expected a terminal, or --stdin");
  }
  const DeferredSignals signals;
  const HiddenInput hidden(STDIN_FILENO);
  if (!hidden) return fail(ErrorCode::io, fmt::format("cannot hide the input: {}", std::strerror(errno)));
  write_text(prompt);
  Result<std::string> line = read_line(signals);
  write_text("\n");
  return line;
}

}  // namespace backplane::cli
