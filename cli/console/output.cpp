#include "cli/console/output.hpp"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

namespace backplane::cli {
namespace {

constexpr std::size_t piece_bytes = 64u << 10;

}  // namespace

Output::Output(int fd, std::string name) : fd_(fd), name_(std::move(name)) {
  std::signal(SIGPIPE, SIG_IGN);
}

bool Output::full() const noexcept {
  return buffer_.size() >= piece_bytes;
}

void Output::flush() {
  std::string_view rest = buffer_;
  while (!rest.empty() && !closed_) {
    const ssize_t bytes = ::write(fd_, rest.data(), rest.size());
    if (bytes >= 0) {
      rest.remove_prefix(static_cast<std::size_t>(bytes));
    } else if (errno == EAGAIN) {
      pollfd writable{fd_, POLLOUT, 0};
      ::poll(&writable, 1, -1);
    } else if (errno != EINTR) {
      if (errno != EPIPE) problem_ = fmt::format("{}: {}", name_, std::strerror(errno));
      closed_ = true;
    }
  }
  buffer_.clear();
}

}  // namespace backplane::cli
