#pragma once
// Notifies a file's follower when the file changes, or when another file takes its name.

#include <filesystem>
#include <vector>

namespace backplane::sources {

/// The kernel's inotify. It does not report changes that other machines make to a network file system, and
/// the number of watches per machine is limited. A caller must therefore also check at intervals. Belongs to
/// one thread.
class FileWatch {
 public:
  /// Watches the folders of these files for files that appear, disappear or are renamed.
  explicit FileWatch(const std::vector<std::filesystem::path>& places);
  ~FileWatch();
  FileWatch(const FileWatch&) = delete;
  FileWatch& operator=(const FileWatch&) = delete;

  /// Also watches an open file, regardless of later renames, until it is deleted.
  void add(int file_fd) noexcept;
  /// Readable after a change, until drain(). Negative if the kernel provides no watch.
  [[nodiscard]] int fd() const noexcept { return fd_; }
  void drain() noexcept;

 private:
  int fd_;
};

}  // namespace backplane::sources
