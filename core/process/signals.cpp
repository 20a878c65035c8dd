#include "core/process/signals.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

namespace backplane {
namespace {

constexpr std::array standard_streams{STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO};

bool ignores(int signal) noexcept {
  struct sigaction action {};
  return ::sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
}

/// It fails if the process has no controlling terminal, or no longer. Not kept open: that would keep an ssh
/// session from ending whose terminal it is.
bool has_terminal() noexcept {
  return static_cast<bool>(Descriptor(::open("/dev/tty", O_RDONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC)));
}

bool is_pipe_or_socket(int fd) noexcept {
  struct stat file {};
  return ::fstat(fd, &file) == 0 && (S_ISFIFO(file.st_mode) || S_ISSOCK(file.st_mode));
}

}  // namespace

Signals::Signals(Hangup hangup)
    : hangup_(hangup), survives_hangup_(ignores(SIGHUP)), had_terminal_(has_terminal()) {
  sigset_t taken;
  sigemptyset(&taken);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&taken, signal);
  if (const int error = pthread_sigmask(SIG_BLOCK, &taken, nullptr); error != 0) {
    throw std::system_error(error, std::generic_category(), "pthread_sigmask");
  }
  signals_ = Descriptor(signalfd(-1, &taken, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals_) throw std::system_error(errno, std::generic_category(), "signalfd");
  // A closed pipe gives EPIPE instead of killing the process.
  std::signal(SIGPIPE, SIG_IGN);
  poll_ = Descriptor(epoll_create1(EPOLL_CLOEXEC));
  if (!poll_) throw std::system_error(errno, std::generic_category(), "epoll_create1");
  watch(signals_.get(), EPOLLIN);
  watch_streams();
}

void Signals::watch(int fd, std::uint32_t events) {
  epoll_event event{};
  event.events = events;
  if (::epoll_ctl(poll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
    throw std::system_error(errno, std::generic_category(), "epoll_ctl");
  }
}

void Signals::watch_streams() {
  watches_streams_ =
      !survives_hangup_ && std::all_of(standard_streams.begin(), standard_streams.end(), is_pipe_or_socket);
  if (!watches_streams_) return;
  // Once for each end, which epoll always reports. Standard input may end long before the others.
  for (const int fd : standard_streams) watch(fd, EPOLLET);
}

bool Signals::starter_gone() const noexcept {
  return std::all_of(standard_streams.begin(), standard_streams.end(), [](int fd) {
    pollfd stream{fd, 0, 0};
    return ::poll(&stream, 1, 0) == 1 && (stream.revents & (POLLHUP | POLLERR)) != 0;
  });
}

bool Signals::terminal_gone() const noexcept {
  return had_terminal_ && !has_terminal();
}

// The mask stays: a signal that is pending now must not kill the process during shutdown.

Signals::Event Signals::next() noexcept {
  for (;;) {
    signalfd_siginfo info{};
    ssize_t bytes = 0;
    do bytes = ::read(signals_.get(), &info, sizeof info);
    while (bytes < 0 && errno == EINTR);
    if (bytes != ssize_t{sizeof info}) break;
    if (info.ssi_signo != SIGHUP) {
      stopping_ = true;
      return Event::stop;
    }
    // The kernel sends it when the terminal closes; shells, sudo and process 1 pass it on.
    const bool closed = info.ssi_code == SI_KERNEL || terminal_gone();
    if (!closed && hangup_ == Hangup::reload) return Event::reload;
    if (!survives_hangup_ && !std::exchange(stopping_, true)) return Event::stop;
  }
  if (!watches_streams_) return Event::none;
  std::array<epoll_event, standard_streams.size() + 1> ended{};
  (void)::epoll_wait(poll_.get(), ended.data(), static_cast<int>(ended.size()), 0);  // makes fd() unreadable
  if (!starter_gone()) return Event::none;
  watches_streams_ = false;
  return std::exchange(stopping_, true) ? Event::none : Event::stop;
}

}  // namespace backplane
