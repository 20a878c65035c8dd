#include "core/process/child.hpp"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/process/descriptor.hpp"

namespace backplane {
namespace {

struct Pipe {
  Descriptor read;
  Descriptor write;
};

std::optional<Pipe> make_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return {};
  return Pipe{Descriptor(ends[0]), Descriptor(ends[1])};
}

tl::unexpected<Error> cannot_start(const std::string& program, int error) {
  const ErrorCode code = error == ENOENT ? ErrorCode::not_found : ErrorCode::io;
  return fail(code, fmt::format("cannot start {}: {}", program, std::strerror(error)));
}

struct ChildEnds {
  int input;
  int output;
  int errors;
  int report;  ///< receives errno if the program cannot be started
  pid_t parent;
};

/// Runs in the child after fork(), where only async-signal-safe calls are allowed.
[[noreturn]] void become(char* const* arguments, const ChildEnds& ends) {
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::signal(SIGPIPE, SIG_DFL);
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  // The parent may have ended before that call.
  if (::getppid() != ends.parent) ::_exit(127);
  if (::dup2(ends.input, STDIN_FILENO) >= 0 && ::dup2(ends.output, STDOUT_FILENO) >= 0 &&
      ::dup2(ends.errors, STDERR_FILENO) >= 0) {
    ::execv(arguments[0], arguments);
  }
  const int error = errno;
  // If this fails, nothing can receive the error.
  [[maybe_unused]] const ssize_t written = ::write(ends.report, &error, sizeof error);
  ::_exit(127);
}

Exit to_exit(int status) {
  Exit exit;
  if (WIFSIGNALED(status)) exit.signal = WTERMSIG(status);
  if (WIFEXITED(status)) exit.code = WEXITSTATUS(status);
  return exit;
}

}  // namespace

std::string Exit::str() const {
  if (signal != 0) return fmt::format("signal {} ({})", signal, strsignal(signal));
  return fmt::format("exit code {}", code);
}

LinePipe::~LinePipe() {
  close();
}

LinePipe::LinePipe(LinePipe&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), buffer_(std::move(other.buffer_)) {}

LinePipe& LinePipe::operator=(LinePipe&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(buffer_, other.buffer_);
  return *this;
}

void LinePipe::close() noexcept {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

std::optional<std::string> LinePipe::next() {
  for (;;) {
    const std::size_t newline = buffer_.find('\n');
    if (newline != std::string::npos || buffer_.size() >= line_bytes_max || (fd_ < 0 && !buffer_.empty())) {
      const std::size_t bytes = std::min({newline, buffer_.size(), line_bytes_max});
      std::string line = buffer_.substr(0, bytes);
      buffer_.erase(0, bytes == newline ? bytes + 1 : bytes);
      return line;
    }
    if (fd_ < 0) return {};
    std::array<char, 4096> chunk{};
    const ssize_t bytes = ::read(fd_, chunk.data(), chunk.size());
    if (bytes > 0) {
      buffer_.append(chunk.data(), static_cast<std::size_t>(bytes));
    } else if (bytes == 0) {
      close();
    } else if (errno == EAGAIN) {
      return {};
    } else if (errno != EINTR) {
      close();
    }
  }
}

Result<Child> Child::start(const std::vector<std::string>& arguments) {
  CHECK(!arguments.empty(), "a child has a program");
  const std::string& program = arguments.front();
  std::vector<char*> argv;
  for (const std::string& each : arguments) argv.push_back(const_cast<char*>(each.c_str()));
  argv.push_back(nullptr);

  auto output = make_pipe();
  auto errors = make_pipe();
  auto report = make_pipe();
  const Descriptor input(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  if (!output || !errors || !report || input.get() < 0) return cannot_start(program, errno);
  for (const int fd : {output->read.get(), errors->read.get()}) ::fcntl(fd, F_SETFL, O_NONBLOCK);

  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) return cannot_start(program, errno);
  if (pid == 0) {
    become(argv.data(), {input.get(), output->write.get(), errors->write.get(), report->write.get(), parent});
  }
  // glibc 2.36 has a wrapper, but its header is not available everywhere.
  const int pid_fd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  const int pid_fd_error = errno;
  Child child(pid, pid_fd, output->read.release(), errors->read.release());
  if (pid_fd < 0) return cannot_start(program, pid_fd_error);

  // The read ends when the program has started (close-on-exec), or returns the reason why not.
  report->write = Descriptor();
  int error = 0;
  ssize_t bytes = 0;
  do bytes = ::read(report->read.get(), &error, sizeof error);
  while (bytes < 0 && errno == EINTR);
  if (bytes == ssize_t{sizeof error}) return cannot_start(program, error);
  return child;
}

Child::~Child() {
  end();
}

Child::Child(Child&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      pid_fd_(std::exchange(other.pid_fd_, -1)),
      output_(std::move(other.output_)),
      errors_(std::move(other.errors_)),
      exit_(other.exit_) {}

Child& Child::operator=(Child&& other) noexcept {
  std::swap(pid_, other.pid_);
  std::swap(pid_fd_, other.pid_fd_);
  std::swap(output_, other.output_);
  std::swap(errors_, other.errors_);
  std::swap(exit_, other.exit_);
  return *this;
}

void Child::end() noexcept {
  if (pid_ > 0 && !exit_) {
    ::kill(pid_, SIGKILL);  // not reaped yet, so the number is still its own
    while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  if (pid_fd_ >= 0) ::close(pid_fd_);
}

void Child::signal(int number) noexcept {
  if (pid_ > 0 && !exit_) ::kill(pid_, number);
}

std::optional<Exit> Child::wait(std::chrono::milliseconds timeout) {
  if (exit_) return exit_;
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  for (;;) {
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) == pid_) {
      exit_ = to_exit(status);
      return exit_;
    }
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0) return {};
    pollfd ended{pid_fd_, POLLIN, 0};
    ::poll(&ended, 1, static_cast<int>(left.count()));
  }
}

std::string own_executable() {
  return std::filesystem::read_symlink("/proc/self/exe").string();
}

}  // namespace backplane
