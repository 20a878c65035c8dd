#pragma once
// A file that another program writes, read line by line.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string_view>
#include <vector>

#include <sys/types.h>

#include "core/error/error.hpp"
#include "publishers/sources/line_splitter.hpp"

namespace backplane::sources {

/// Identifies a file regardless of its name.
struct FileId {
  std::uint64_t device{};
  std::uint64_t inode{};
  friend bool operator==(const FileId&, const FileId&) = default;
};

/// How far a file was read, and enough to recognise the file later.
struct FilePosition {
  FileId id;
  std::uint64_t offset{};      ///< bytes before the position: whole lines
  std::uint64_t line{};        ///< lines before the position
  std::uint64_t head_bytes{};  ///< how many of the file's first bytes head_hash covers
  std::uint64_t head_hash{};   ///< detects another file with the same inode
};

/// One open file, whatever its name is now. Belongs to one thread; owns the descriptor.
///
/// A program that does not write with O_APPEND continues at its old offset after a truncation, so the file
/// then begins with as many NULs. NULs at the beginning of a line are therefore not part of it.
class GrowingFile {
 public:
  /// Opens a file to be read from `position` on. The position's id is replaced by the file's own.
  /// @returns not_found if there is no such file, invalid_argument if it is not a regular file, else io.
  static Result<GrowingFile> open(const std::filesystem::path& path, const FilePosition& position,
                                  std::size_t line_bytes_max);
  ~GrowingFile();
  GrowingFile(GrowingFile&& other) noexcept;
  GrowingFile& operator=(GrowingFile&& other) noexcept;

  [[nodiscard]] int fd() const noexcept { return fd_; }
  [[nodiscard]] FileId id() const noexcept { return position_.id; }
  [[nodiscard]] std::int64_t modified_ns() const;
  /// When the file was created; 0 if the file system does not say.
  [[nodiscard]] std::int64_t created_ns() const;
  [[nodiscard]] std::uint64_t size() const;

  /// Reads the next chunk, which the caller feeds to lines(). Empty if there is nothing more for now.
  [[nodiscard]] std::string_view read();
  [[nodiscard]] LineSplitter& lines() noexcept { return lines_; }
  /// The position after the last line that lines() returned.
  [[nodiscard]] FilePosition position() const noexcept;

  /// Whether this is no longer the content that was read: the file is shorter now, or begins differently.
  [[nodiscard]] bool truncated() const;
  /// Starts again at the beginning of the file.
  void restart();
  /// Skips this many lines that are not too long, and those between them. @returns how many there were not.
  std::uint64_t skip_lines(std::uint64_t count);
  /// Continues after the last line that the file has now.
  void skip_to_end();

 private:
  GrowingFile(int fd, const FilePosition& position, std::size_t line_bytes_max);
  void begin_at(const FilePosition& position);
  void extend_head();
  [[nodiscard]] std::uint64_t hash_head(std::uint64_t bytes) const;

  int fd_;
  std::size_t line_bytes_max_;
  FilePosition position_;  // where lines_ started; the head is kept up to date
  std::uint64_t read_to_{};
  LineSplitter lines_;
  std::vector<char> chunk_;
};

/// The paths at which a followed file may be: its name and, if that is a link, the target of each link.
/// (Kubernetes names logs by links and rotates them beside the target.)
[[nodiscard]] std::vector<std::filesystem::path> file_places(const std::filesystem::path& path);

/// Finds the file that was read as far as `position`: in one of the places, under a name that a rotation gave
/// it, or as a copy written after `copied_after_ns` (copytruncate). A file that is known by its content is
/// also found under any other name in the same folder. @returns not_found if it is gone.
[[nodiscard]] Result<GrowingFile> find_moved(const std::vector<std::filesystem::path>& places,
                                             const FilePosition& position, std::int64_t copied_after_ns,
                                             std::size_t line_bytes_max);

/// The regular, uncompressed files beside these places whose names a rotation made from theirs: NAME.1,
/// NAME-20240101, NAME.2024-01-01_13-05 and the like. Others may be anything, for example NAME.env. Sorted by
/// modification time, the most recent last.
[[nodiscard]] std::vector<std::filesystem::path> rotated_files(
    const std::vector<std::filesystem::path>& places);

/// Whether a rotation appends `suffix`, which follows a dot or a dash, to a file's name: a number of at most
/// three digits, a date, a time, or "old".
[[nodiscard]] bool is_rotation_suffix(std::string_view suffix);

}  // namespace backplane::sources
