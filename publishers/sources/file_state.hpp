#pragma once
// The position in a followed file, saved across restarts.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "core/error/error.hpp"
#include "publishers/sources/growing_file.hpp"

namespace backplane::sources {

/// How far a file, and the files that had its name before, have been published. A value type.
struct FileState {
  std::uint64_t session{};   ///< of the publisher that saved the state
  std::uint64_t sequence{};  ///< of the session's last event before the active file's position
  std::int64_t saved_ns{};
  std::uint64_t reserved{};   ///< the session has sent no event above this sequence
  std::uint64_t numbering{};  ///< of what the events' numbers depend on, apart from the files; 0: unknown
  std::vector<FilePosition> files;  ///< oldest first
  /// For each file, the path that the followed name led to, over all links, when the file was opened.
  std::vector<std::filesystem::path> places{};
  /// Index of the file that the session's later events come from.
  std::size_t active{};
};

/// A small text file that one process at a time may open. Belongs to one thread.
class FileStateStore {
 public:
  /// Creates the folder, and a lock file next to the file. @returns invalid_argument if another process has
  /// the lock.
  static Result<FileStateStore> open(const std::filesystem::path& file);
  ~FileStateStore();
  FileStateStore(FileStateStore&& other) noexcept;
  FileStateStore& operator=(FileStateStore&& other) noexcept;

  /// @returns nothing if there is no file yet, invalid_argument if its content is not a saved state.
  [[nodiscard]] Result<std::optional<FileState>> load() const;
  /// Replaces the file atomically: a reader sees the old or the new state, even after a crash. Blocks until
  /// the state is on disk.
  [[nodiscard]] Result<void> save(const FileState& state) const;

 private:
  FileStateStore(std::filesystem::path file, int lock_fd) : file_(std::move(file)), lock_fd_(lock_fd) {}

  std::filesystem::path file_;
  int lock_fd_;
};

}  // namespace backplane::sources
