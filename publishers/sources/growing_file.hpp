#pragma once
// A file that somebody else writes, line by line.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string_view>
#include <vector>

#include <sys/types.h>

#include "core/error/error.hpp"
#include "publishers/sources/line_splitter.hpp"

namespace backplane::sources {

/// Which file it is, whatever its name.
struct FileId {
  std::uint64_t device{};
  std::uint64_t inode{};
  friend bool operator==(const FileId&, const FileId&) = default;
};

/// How far a file was read, and enough to know it again.
struct FilePosition {
  FileId id;
  std::uint64_t offset{};      ///< bytes before it: whole lines
  std::uint64_t line{};        ///< lines before it
  std::uint64_t head_bytes{};  ///< so many of the file's first bytes …
  std::uint64_t head_hash{};   ///< … have this hash: another file of the same number hasn't
};

/// One file, held open under whatever name it has now. Belongs to one thread; owns the descriptor.
class GrowingFile {
 public:
  /// Opens it to be read from `position` on; its id and head are the file's own then.
  /// @returns not_found where there is none, invalid_argument where it isn't a regular file, io.
  static Result<GrowingFile> open(const std::filesystem::path& path, const FilePosition& position,
                                  std::size_t line_bytes_max);
  ~GrowingFile();
  GrowingFile(GrowingFile&& other) noexcept;
  GrowingFile& operator=(GrowingFile&& other) noexcept;

  [[nodiscard]] int fd() const noexcept { return fd_; }
  [[nodiscard]] FileId id() const noexcept { return position_.id; }
  [[nodiscard]] std::int64_t modified_ns() const;
  [[nodiscard]] std::uint64_t size() const;

  /// Reads on, as far as one chunk goes. What it gives goes through lines(). Empty: nothing more for now.
  [[nodiscard]] std::string_view read();
  [[nodiscard]] LineSplitter& lines() noexcept { return lines_; }
  /// Behind the line that lines() gave last.
  [[nodiscard]] FilePosition position() const noexcept;

  /// Whether it is no longer the file of which we read: shorter than that, or with another beginning.
  [[nodiscard]] bool truncated() const;
  /// Begins anew at the file's beginning.
  void restart();
  /// Goes on behind the last line that the file has now.
  void skip_to_end();

 private:
  GrowingFile(int fd, const FilePosition& position, std::size_t line_bytes_max);
  void begin_at(const FilePosition& position);
  void extend_head();
  [[nodiscard]] std::uint64_t hash_head(std::uint64_t bytes) const;

  int fd_;
  std::size_t line_bytes_max_;
  FilePosition position_;  // where lines_ began; the head is kept up to date
  std::uint64_t read_to_{};
  LineSplitter lines_;
  std::vector<char> chunk_;
};

/// The file that was read as far as `position`, where it is now: at `path` or near it (rotated), or a copy of
/// it there that was written after `copied_after_ns` (copytruncate). Not_found where it is gone.
[[nodiscard]] Result<GrowingFile> find_moved(const std::filesystem::path& path, const FilePosition& position,
                                             std::int64_t copied_after_ns, std::size_t line_bytes_max);

/// Regular, uncompressed files near `path` whose names begin with that of `path`, a dot or a dash, written
/// last the last.
[[nodiscard]] std::vector<std::filesystem::path> rotated_files(const std::filesystem::path& path);

}  // namespace backplane::sources
