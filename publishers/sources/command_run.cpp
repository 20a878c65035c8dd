#include "publishers/sources/command_run.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <filesystem>

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

namespace backplane::sources {
namespace {

using Clock = std::chrono::steady_clock;

// Read at most as much as a pipe can contain at a time, so that the time limit is checked even if a command
// never stops writing.
constexpr int chunks_max = 16;

}  // namespace

bool CommandRun::read_stream(Stream stream, const TakeLine& take) {
  Output& output = stream == Stream::output ? output_ : errors_;
  const int fd = stream == Stream::output ? output_fd() : errors_fd();
  std::array<char, 64u << 10> chunk;
  for (int chunks = 0; fd >= 0 && chunks < chunks_max; ++chunks) {
    const ssize_t got = ::read(fd, chunk.data(), chunk.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return true;
    if (got <= 0) {
      output.ended = true;
      return !output.lines.take_rest() || take(stream, output.lines);
    }
    output.lines.feed({chunk.data(), static_cast<std::size_t>(got)});
    while (output.lines.take_line()) {
      if (!take(stream, output.lines)) return false;
    }
  }
  return true;
}

bool CommandRun::read(const TakeLine& take) {
  return read_stream(Stream::output, take) && read_stream(Stream::errors, take);
}

bool CommandRun::ended() const {
  pollfd descriptor{child_.exit_fd(), POLLIN, 0};
  return ::poll(&descriptor, 1, 0) == 1;
}

// The command is not reaped before exit(), so its group id cannot have been reused.
void CommandRun::signal_group(int number) noexcept {
  ::kill(-child_.pid(), number);
}

bool CommandRun::terminate(std::chrono::milliseconds grace, const TakeLine& take) {
  signal_group(SIGTERM);
  const Clock::time_point deadline = Clock::now() + grace;
  bool taking = true;
  while (!ended()) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
    if (left.count() <= 0) break;
    std::array<pollfd, 3> descriptors{
        {{output_fd(), POLLIN, 0}, {errors_fd(), POLLIN, 0}, {exit_fd(), POLLIN, 0}}};
    ::poll(descriptors.data(), descriptors.size(), static_cast<int>(left.count()));
    taking = taking && read(take);
  }
  signal_group(SIGKILL);
  return taking;
}

bool CommandRun::finish(const TakeLine& take) {
  signal_group(SIGKILL);
  if (!read(take)) return false;
  for (const Stream stream : {Stream::output, Stream::errors}) {
    Output& output = stream == Stream::output ? output_ : errors_;
    // A process that has left the group may keep the pipe open.
    if (!output.ended && output.lines.take_rest() && !take(stream, output.lines)) return false;
    output.ended = true;
  }
  return true;
}

Result<std::string> find_program(const std::string& name, std::string_view path) {
  if (name.find('/') != std::string::npos) return name;
  while (!path.empty() && !name.empty()) {
    const std::size_t end = std::min(path.find(':'), path.size());
    const std::filesystem::path file = std::filesystem::path(path.substr(0, end)) / name;
    std::error_code ignored;
    if (std::filesystem::is_regular_file(file, ignored) && ::access(file.c_str(), X_OK) == 0) {
      return file.string();
    }
    path.remove_prefix(std::min(end + 1, path.size()));
  }
  return fail(ErrorCode::not_found, fmt::format("command: expected a program in PATH, got \"{}\"", name));
}

}  // namespace backplane::sources
