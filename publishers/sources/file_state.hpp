#pragma once
// What a follower of a file remembers over its own end.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "core/error/error.hpp"
#include "publishers/sources/growing_file.hpp"

namespace backplane::sources {

/// How far a file and those that had its name before have been published. A value.
struct FileState {
  std::uint64_t session{};   ///< of the publisher that wrote it
  std::uint64_t sequence{};  ///< of its last event before the active file's position
  std::int64_t saved_ns{};
  std::vector<FilePosition> files;  ///< the oldest first
  /// Index of the one that the session's later events are of.
  std::size_t active{};
};

/// A small text file. One process at a time has it: another one's attempt is an error. Belongs to one thread.
class FileStateStore {
 public:
  /// Makes the folder and the lock beside the file. @returns invalid_argument where another process has it.
  static Result<FileStateStore> open(const std::filesystem::path& file);
  ~FileStateStore();
  FileStateStore(FileStateStore&& other) noexcept;
  FileStateStore& operator=(FileStateStore&& other) noexcept;

  /// Nothing where there is no file yet. invalid_argument where it is none of ours.
  [[nodiscard]] Result<std::optional<FileState>> load() const;
  /// Replaces the file at once and whole: whoever reads it, also after a crash, sees the old or the new one.
  /// Blocks until the disk has it.
  [[nodiscard]] Result<void> save(const FileState& state) const;

 private:
  FileStateStore(std::filesystem::path file, int lock_fd) : file_(std::move(file)), lock_fd_(lock_fd) {}

  std::filesystem::path file_;
  int lock_fd_;
};

}  // namespace backplane::sources
