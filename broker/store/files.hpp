#pragma once
// The files of a store: the only way in which it reaches a disk.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/error/error.hpp"

namespace backplane::broker::store {

/// One open file. Its name may change or vanish while it is open; its bytes stay readable. Any thread may
/// read and sync while one thread appends. Every operation may block. Errors have the code `exhausted` if
/// there is no room, else `io`.
class File {
 public:
  virtual ~File() = default;
  /// Appends all of `bytes`. After an error the file may end in a part of them.
  [[nodiscard]] virtual Result<void> append(std::span<const std::byte> bytes) = 0;
  /// Reads from `at` on. @returns the number of bytes read: fewer than asked for only at the end.
  [[nodiscard]] virtual Result<std::size_t> read(std::uint64_t at, std::span<std::byte> into) const = 0;
  [[nodiscard]] virtual Result<std::uint64_t> size() const = 0;
  [[nodiscard]] virtual Result<void> truncate(std::uint64_t bytes) = 0;
  /// Returns when the file's bytes and its size survive a power loss. An error is final: nobody knows which
  /// bytes are on the disk.
  [[nodiscard]] virtual Result<void> sync() = 0;
};

/// One directory of files. Any thread. Every operation may block.
class Files {
 public:
  virtual ~Files() = default;
  /// Where it is, for messages.
  [[nodiscard]] virtual std::string path() const = 0;
  /// Creates the directory if it is missing, checks that it is one, on a local filesystem, ours and writable,
  /// and locks it for this process. The error of a locked directory names the process that has it. An error
  /// has the code `invalid_argument` if no store can be there.
  [[nodiscard]] virtual Result<void> open() = 0;
  /// The names of all files, in byte order.
  [[nodiscard]] virtual Result<std::vector<std::string>> list() const = 0;
  /// Creates an empty file, or empties an existing one.
  [[nodiscard]] virtual Result<std::shared_ptr<File>> create(std::string_view name) = 0;
  /// Opens a file for reading and appending; the error of a missing file has the code `not_found`.
  [[nodiscard]] virtual Result<std::shared_ptr<File>> open(std::string_view name) = 0;
  /// Replaces `to`, if it exists, in one step.
  [[nodiscard]] virtual Result<void> rename(std::string_view from, std::string_view to) = 0;
  [[nodiscard]] virtual Result<void> remove(std::string_view name) = 0;
  /// Returns when all names created, renamed and removed so far survive a power loss.
  [[nodiscard]] virtual Result<void> sync_names() = 0;
  /// Differs after each start of the machine.
  [[nodiscard]] virtual std::string boot() const = 0;
};

/// Reads a whole file.
[[nodiscard]] Result<std::string> read_all(const File& file);

/// Replaces `name` by a file with `bytes` in one step: after a crash at any time, either the old or the new
/// one is there, complete. The new one survives a power loss when this returns.
[[nodiscard]] Result<void> replace(Files& files, std::string_view name, std::string_view bytes);

}  // namespace backplane::broker::store
