#include "cli/console/output.hpp"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

namespace backplane::cli {
namespace {

using Clock = Waiter::Clock;

constexpr std::size_t piece_bytes = 64u << 10;
/// What a pipe that is writable accepts without blocking (PIPE_BUF).
constexpr std::size_t small_piece_bytes = 4096;
/// After a signal, the reader has so long to take what is left.
constexpr std::chrono::milliseconds stop_limit{500};

bool is_writable(int fd, std::chrono::milliseconds limit) {
  pollfd writable{fd, POLLOUT, 0};
  return ::poll(&writable, 1, static_cast<int>(limit.count())) == 1;
}

}  // namespace

Output::Output(int fd, std::string name, Waiter* waiter) : fd_(fd), waiter_(waiter), name_(std::move(name)) {
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);  // above the limit of `ulimit -f`, writing is an error
  struct stat file {};
  if (::fstat(fd_, &file) != 0) return;
  if (S_ISSOCK(file.st_mode)) kind_ = Kind::socket;
  const int flags = ::fcntl(fd_, F_GETFL);
  if (flags < 0 || (flags & O_ACCMODE) == O_RDONLY) return;  // write() reports that
  if (!S_ISFIFO(file.st_mode) && !S_ISCHR(file.st_mode)) return;
  kind_ = Kind::may_block;
  // Other processes share the descriptor, which must stay as it is for them. This is another one for the same
  // pipe or terminal.
  own_ = Descriptor(
      ::open(fmt::format("/proc/self/fd/{}", fd_).c_str(), O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  if (own_) kind_ = Kind::own;
}

bool Output::full() const noexcept {
  return buffer_.size() >= piece_bytes;
}

ssize_t Output::write(std::string_view bytes) const noexcept {
  switch (kind_) {
    case Kind::own:
      return ::write(own_.get(), bytes.data(), bytes.size());
    case Kind::socket:
      return ::send(fd_, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    case Kind::may_block:
      bytes = bytes.substr(0, small_piece_bytes);
      break;
    case Kind::file:
      break;
  }
  return ::write(fd_, bytes.data(), bytes.size());
}

/// Blocks until the reader reads. @returns false if the command is to stop first.
bool Output::wait_writable() {
  if (kind_ == Kind::file || is_writable(fd_, std::chrono::milliseconds{0})) return true;
  while (waiter_ == nullptr || !waiter_->stopped()) {
    if (waiter_ == nullptr) return is_writable(fd_, std::chrono::milliseconds{-1});
    if (waiter_->wait_writable(fd_, Clock::time_point::max())) return true;
  }
  if (!stop_at_) stop_at_ = Clock::now() + stop_limit;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(*stop_at_ - Clock::now());
  return is_writable(fd_, std::max(left, std::chrono::milliseconds{0}));
}

void Output::flush() {
  std::string_view rest = buffer_;
  while (!rest.empty() && !closed_) {
    if (!wait_writable()) {
      closed_ = true;
      break;
    }
    const ssize_t bytes = write(rest);
    if (bytes >= 0) {
      rest.remove_prefix(static_cast<std::size_t>(bytes));
    } else if (errno != EINTR && errno != EAGAIN) {
      if (errno != EPIPE && !terminal_closed(errno)) {
        problem_ = fmt::format("{}: {}", name_, std::strerror(errno));
      }
      closed_ = true;
    }
  }
  buffer_.clear();
}

/// A terminal that has closed gives EIO.
bool Output::terminal_closed(int error) const noexcept {
  return error == EIO && (kind_ == Kind::own || kind_ == Kind::may_block);
}

}  // namespace backplane::cli
