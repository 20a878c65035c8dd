#include "core/process/signals.hpp"

#include <cerrno>
#include <csignal>
#include <system_error>

#include <pthread.h>
#include <sys/signalfd.h>
#include <unistd.h>

namespace backplane {

Signals::Signals() : fd_(-1) {
  sigset_t taken;
  sigemptyset(&taken);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&taken, signal);
  if (const int error = pthread_sigmask(SIG_BLOCK, &taken, nullptr); error != 0) {
    throw std::system_error(error, std::generic_category(), "pthread_sigmask");
  }
  fd_ = signalfd(-1, &taken, SFD_CLOEXEC | SFD_NONBLOCK);
  if (fd_ < 0) throw std::system_error(errno, std::generic_category(), "signalfd");
  // A closed pipe gives EPIPE instead of killing the process.
  std::signal(SIGPIPE, SIG_IGN);
}

// The mask stays: a signal that is pending now must not kill the process during shutdown.
Signals::~Signals() {
  ::close(fd_);
}

Signals::Event Signals::next() noexcept {
  signalfd_siginfo info{};
  ssize_t bytes = 0;
  do bytes = ::read(fd_, &info, sizeof info);
  while (bytes < 0 && errno == EINTR);
  if (bytes != ssize_t{sizeof info}) return Event::none;
  return info.ssi_signo == SIGHUP ? Event::reload : Event::stop;
}

}  // namespace backplane
