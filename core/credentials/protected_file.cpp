#include "core/credentials/protected_file.hpp"

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/log/escape.hpp"
#include "core/process/descriptor.hpp"

namespace backplane {
namespace {

tl::unexpected<Error> cannot(std::string_view verb, const std::string& name, int error) {
  const ErrorCode code = error == ENOENT ? ErrorCode::not_found : ErrorCode::io;
  const std::string reason = error == ENOENT ? "no such file" : std::strerror(error);
  return fail(code, fmt::format("cannot {} {}: {}", verb, name, reason));
}

/// Whether anybody can replace the files in this folder.
bool is_open_to_all(const std::filesystem::path& folder) {
  struct stat found {};
  if (::stat(folder.c_str(), &found) != 0) return false;
  return (found.st_mode & S_IWOTH) != 0 && (found.st_mode & S_ISVTX) == 0;
}

Result<void> check_access(const struct stat& found, const std::filesystem::path& file,
                          const std::string& name, OthersMay others_may) {
  const auto expected = [&](std::string_view what, const std::string& got) {
    return fail(ErrorCode::invalid_argument, fmt::format("{}: expected {}, got {}", name, what, got));
  };
  if (!S_ISREG(found.st_mode)) {
    return expected("a regular file", S_ISDIR(found.st_mode) ? "a folder" : "a device, a pipe or a socket");
  }
  if (found.st_uid != ::geteuid() && found.st_uid != 0) {
    return expected("a file of this user or of root", fmt::format("one of user {}", found.st_uid));
  }
  const mode_t mode = found.st_mode & 07777U;
  if (others_may == OthersMay::nothing && (mode & 066U) != 0) {
    return expected("a file that other users can neither read nor write",
                    fmt::format("mode {:04o} (use chmod 600)", mode));
  }
  if ((mode & 022U) != 0) {
    return expected("a file that other users cannot write",
                    fmt::format("mode {:04o} (use chmod go-w)", mode));
  }
  std::error_code error;
  const std::filesystem::path target = std::filesystem::canonical(file, error);
  for (const std::filesystem::path& each : {std::filesystem::absolute(file, error), target}) {
    if (is_open_to_all(each.parent_path())) {
      return expected("a folder in which other users cannot replace the file",
                      log::escape(each.parent_path().string()));
    }
  }
  return {};
}

Result<void> write_all(int fd, std::string_view content) {
  while (!content.empty()) {
    const ssize_t written = ::write(fd, content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return fail(ErrorCode::io, std::strerror(errno));
    content.remove_prefix(static_cast<std::size_t>(written));
  }
  if (::fsync(fd) != 0) return fail(ErrorCode::io, std::strerror(errno));
  return {};
}

}  // namespace

Result<std::string> read_protected_file(const std::filesystem::path& file, OthersMay others_may,
                                        std::size_t bytes_max) {
  const std::string name = log::escape(file.string());
  // Without O_NONBLOCK, opening a named pipe waits for a writer.
  const Descriptor descriptor(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!descriptor) return cannot("read", name, errno);
  struct stat found {};
  if (::fstat(descriptor.get(), &found) != 0) return cannot("read", name, errno);
  if (auto checked = check_access(found, file, name, others_may); !checked) {
    return tl::unexpected(checked.error());
  }
  std::string content(bytes_max + 1, '\0');
  std::size_t size = 0;
  while (size < content.size()) {
    const ssize_t bytes = ::read(descriptor.get(), content.data() + size, content.size() - size);
    if (bytes < 0 && errno == EINTR) continue;
    if (bytes < 0) return cannot("read", name, errno);
    if (bytes == 0) break;
    size += static_cast<std::size_t>(bytes);
  }
  if (size > bytes_max) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("{}: expected at most {} bytes, got more", name, bytes_max));
  }
  content.resize(size);
  return content;
}

Result<void> create_protected_file(const std::filesystem::path& file, std::string_view content,
                                   OthersMay others_may) {
  const std::string name = log::escape(file.string());
  const Descriptor descriptor(::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!descriptor) return cannot("create", name, errno);
  auto written = write_all(descriptor.get(), content);
  // The umask may take further permissions away, never add any.
  if (written && others_may == OthersMay::read && ::fchmod(descriptor.get(), 0644) != 0) {
    written = fail(ErrorCode::io, std::strerror(errno));
  }
  if (written) return {};
  ::unlink(file.c_str());
  return fail(ErrorCode::io, fmt::format("cannot write {}: {}", name, written.error().text));
}

}  // namespace backplane
