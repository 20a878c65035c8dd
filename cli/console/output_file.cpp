#include "cli/console/output_file.hpp"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <optional>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

namespace backplane::cli {
namespace {

constexpr mode_t permissions = 07777;

std::optional<struct stat> status_of(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return std::nullopt;
  return status;
}

/// The path behind symbolic links, also if the last one leads to no file yet.
std::string behind_links(const std::string& path) {
  std::filesystem::path place = path;
  std::error_code error;
  constexpr int links_max = 40;  // as the kernel has it
  for (int links = 0; links < links_max && std::filesystem::is_symlink(place, error); ++links) {
    place = place.parent_path() / std::filesystem::read_symlink(place, error);
  }
  return place.string();
}

/// The permissions of a new file.
mode_t new_file_mode() {
  const mode_t mask = ::umask(0);
  ::umask(mask);
  return 0666 & ~mask;
}

tl::unexpected<Error> cannot(std::string_view what, const std::string& path, ErrorCode code) {
  return fail(code, fmt::format("cannot {} {}: {}", what, path, std::strerror(errno)));
}

}  // namespace

Result<OutputFile> OutputFile::open(const std::string& path) {
  if (path == "-") {
    Descriptor file(::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0));
    if (!file) return cannot("write to", "standard output", ErrorCode::io);
    return OutputFile("standard output", std::move(file));
  }
  const auto present = status_of(path);
  if (!present || S_ISREG(present->st_mode)) return open_beside(path);
  Descriptor file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!file) return cannot("write to", path, ErrorCode::invalid_argument);
  return OutputFile(path, std::move(file));
}

Result<OutputFile> OutputFile::open_beside(const std::string& path) {
  const std::string place = behind_links(path);
  // A file that we may not write to must not be replaced either, although its folder would allow that.
  const auto present = status_of(place);
  if (present && ::access(place.c_str(), W_OK) != 0)
    return cannot("write to", path, ErrorCode::invalid_argument);
  const std::filesystem::path parts(place);
  constexpr std::size_t name_bytes_max = 240;  // of 255, less the rest of the name
  const std::string name = parts.filename().string().substr(0, name_bytes_max);
  if (name.empty()) {
    errno = EISDIR;
    return cannot("write to", path, ErrorCode::invalid_argument);
  }
  std::string beside = (parts.parent_path() / fmt::format(".{}.XXXXXX", name)).string();
  Descriptor file(::mkostemp(beside.data(), O_CLOEXEC));
  if (!file) return cannot("create a file beside", path, ErrorCode::invalid_argument);
  OutputFile output(path, std::move(file));
  output.place_ = place;
  output.beside_ = std::move(beside);
  (void)::fchmod(output.fd(), present ? present->st_mode & permissions : new_file_mode());
  // Only root can give a file to its former owner; if that fails, it is ours.
  if (present && ::fchown(output.fd(), present->st_uid, present->st_gid) != 0) errno = 0;
  return output;
}

OutputFile::OutputFile(OutputFile&& other) noexcept
    : name_(std::move(other.name_)),
      file_(std::move(other.file_)),
      place_(std::exchange(other.place_, {})),
      beside_(std::exchange(other.beside_, {})) {}

OutputFile::~OutputFile() {
  if (!beside_.empty()) ::unlink(beside_.c_str());
}

Result<void> OutputFile::commit() {
  if (beside_.empty()) return {};
  if (::fsync(file_.get()) != 0) return cannot("write", name_, ErrorCode::io);
  if (::rename(beside_.c_str(), place_.c_str()) != 0) return cannot("replace", name_, ErrorCode::io);
  beside_.clear();
  return {};
}

}  // namespace backplane::cli
