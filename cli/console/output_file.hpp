#pragma once
// A file that is replaced only by a complete one.

#include <string>

#include "core/error/error.hpp"
#include "core/process/descriptor.hpp"

namespace backplane::cli {

/// A file to write to. A regular file is written beside its place, and takes that place at commit(); without
/// a commit(), the place stays as it was. Standard output, pipes and devices are written directly. Belongs to
/// one thread; owns the descriptor and the file beside.
class OutputFile {
 public:
  /// Opens the file, or standard output for `-`. A symbolic link stays a link, and its target is replaced.
  /// @returns an error that names the file.
  static Result<OutputFile> open(const std::string& path);

  OutputFile(OutputFile&& other) noexcept;
  OutputFile& operator=(OutputFile&&) = delete;
  ~OutputFile();

  /// Valid until commit().
  [[nodiscard]] int fd() const noexcept { return file_.get(); }
  /// For messages: the path as given, or `standard output`.
  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  /// Whether commit() replaces a file.
  [[nodiscard]] bool replaces() const noexcept { return !beside_.empty(); }

  /// Puts the file in its place, after its bytes have reached the disk. Call it once.
  [[nodiscard]] Result<void> commit();

 private:
  OutputFile(std::string name, Descriptor file) : name_(std::move(name)), file_(std::move(file)) {}
  static Result<OutputFile> open_beside(const std::string& path);

  std::string name_;
  Descriptor file_;
  std::string place_;   // the path to replace; empty if the file is written directly
  std::string beside_;  // the path of the file that is written
};

}  // namespace backplane::cli
