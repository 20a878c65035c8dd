#include "core/process/inherited.hpp"

#include <cerrno>
#include <csignal>

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

namespace backplane {
namespace {

void reset_signals() noexcept {
  for (int number = 1; number < NSIG; ++number) {
    // SIGKILL, SIGSTOP and the C library's own signals cannot be changed; these calls fail.
    struct sigaction action {};
    if (number == SIGHUP || ::sigaction(number, nullptr, &action) != 0) continue;
    if (action.sa_handler == SIG_IGN) ::signal(number, SIG_DFL);
  }
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

void fill_closed_streams() noexcept {
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    // open() takes the lowest free number, which is this one.
    if (::fcntl(stream, F_GETFD) < 0) (void)::open("/dev/null", stream == STDIN_FILENO ? O_WRONLY : O_RDONLY);
  }
}

void correct_umask() noexcept {
  const mode_t mask = ::umask(S_IWGRP | S_IWOTH);
  // Without any mask, which is what some daemons leave, the usual one.
  if (mask != 0) ::umask((mask & ~mode_t{S_IRWXU}) | S_IWOTH);
}

int exit_code(int status) noexcept {
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/// A terminal's Ctrl-C then reaches the child alone.
void become_foreground() noexcept {
  ::setpgid(0, 0);
  ::signal(SIGTTOU, SIG_IGN);
  ::tcsetpgrp(STDIN_FILENO, ::getpgrp());
  ::signal(SIGTTOU, SIG_DFL);
}

}  // namespace

void correct_inherited_state() noexcept {
  reset_signals();
  fill_closed_streams();
  correct_umask();
}

std::optional<int> run_as_init() noexcept {
  if (::getpid() != 1) return {};
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  ::sigprocmask(SIG_SETMASK, &all, &before);
  const pid_t child = ::fork();
  if (child <= 0) {
    // Without a second process, being process 1 is still better than nothing.
    if (child == 0) become_foreground();
    ::sigprocmask(SIG_SETMASK, &before, nullptr);
    return {};
  }

  for (;;) {
    siginfo_t info{};
    if (::sigwaitinfo(&all, &info) < 0) continue;
    if (info.si_signo != SIGCHLD) {
      ::kill(child, info.si_signo);
      continue;
    }
    int status = 0;
    for (pid_t ended = 0; (ended = ::waitpid(-1, &status, WNOHANG)) > 0;) {
      if (ended == child) return exit_code(status);
    }
  }
}

}  // namespace backplane
