#include "publishers/sources/file_watch.hpp"

#include <array>
#include <cstdint>

#include <fmt/format.h>
#include <sys/inotify.h>
#include <unistd.h>

namespace backplane::sources {

FileWatch::FileWatch(const std::vector<std::filesystem::path>& places)
    : fd_(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC)) {
  for (const std::filesystem::path& place : places) {
    const std::filesystem::path folder = place.has_parent_path() ? place.parent_path() : ".";
    if (fd_ >= 0) ::inotify_add_watch(fd_, folder.c_str(), IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM);
  }
}

FileWatch::~FileWatch() {
  if (fd_ >= 0) ::close(fd_);
}

void FileWatch::add(int file_fd) noexcept {
  if (fd_ < 0) return;
  const auto name = fmt::format("/proc/self/fd/{}", file_fd);
  ::inotify_add_watch(fd_, name.c_str(), IN_MODIFY | IN_MOVE_SELF);
}

void FileWatch::drain() noexcept {
  alignas(inotify_event) std::array<char, 16u << 10> events;
  while (fd_ >= 0 && ::read(fd_, events.data(), events.size()) > 0) {
  }
}

}  // namespace backplane::sources
