#pragma once
// Wakes whoever follows a file when it, or what has its name, changes.

#include <filesystem>

namespace backplane::sources {

/// The kernel's inotify. It tells nothing of what other machines do to a network file system, and a machine
/// has a limit of watches: a caller looks now and then by itself too. Belongs to one thread.
class FileWatch {
 public:
  /// Watches the folder of `path`, in which files come and go.
  explicit FileWatch(const std::filesystem::path& path);
  ~FileWatch();
  FileWatch(const FileWatch&) = delete;
  FileWatch& operator=(const FileWatch&) = delete;

  /// Watches an open file too, whatever its name is or will be, until it is gone.
  void add(int file_fd) noexcept;
  /// Readable after a change, until drain(); negative where the kernel has no watch for us.
  [[nodiscard]] int fd() const noexcept { return fd_; }
  void drain() noexcept;

 private:
  int fd_;
};

}  // namespace backplane::sources
