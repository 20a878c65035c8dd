#include "broker/store/posix_files.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <system_error>
#include <utility>

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "core/log/log.hpp"
#include "core/process/descriptor.hpp"
#include "core/process/host.hpp"

namespace backplane::broker::store {
namespace {

constexpr const char* lock_name = "lock";

std::string reason(int error) {
  return std::system_category().message(error);
}

// Connections may take all descriptors for a moment: that passes, like a lack of room.
bool is_lack_of_room(int error) {
  return error == ENOSPC || error == EDQUOT || error == EMFILE || error == ENFILE;
}

tl::unexpected<Error> failure(std::string_view verb, std::string_view object, int error) {
  const ErrorCode code = is_lack_of_room(error) ? ErrorCode::exhausted
                         : error == ENOENT      ? ErrorCode::not_found
                                                : ErrorCode::io;
  return fail(code, fmt::format("cannot {} {}: {}", verb, object, reason(error)));
}

// The store cannot be where it is to be.
tl::unexpected<Error> wrong_place(std::string_view verb, std::string_view object, int error) {
  const ErrorCode code = is_lack_of_room(error) ? ErrorCode::exhausted
                         : error == EIO         ? ErrorCode::io
                                                : ErrorCode::invalid_argument;
  return fail(code, fmt::format("cannot {} {}: {}", verb, object, reason(error)));
}

// Filesystems on which a lock, a rename and a sync do what the store relies on.
constexpr std::array local_filesystems{
    0xEF53L /* ext2, ext3, ext4 */,
    0x58465342L /* xfs */,
    0x9123683EL /* btrfs */,
    0x2FC12FC1L /* zfs */,
    0xF2F52010L /* f2fs */,
    0xCA451A4EL /* bcachefs */,
    0x01021994L /* tmpfs */,
    0x858458F6L /* ramfs */,
    0x794C7630L /* overlay */,
    0x61756673L /* aufs */,
    0x3153464AL /* jfs */,
    0x52654973L /* reiserfs */,
    0x3434L /* nilfs */,
    0xF15FL /* ecryptfs */,
    0x7366746EL /* ntfs3 */,
    0x2011BAB0L /* exfat */,
    0x4D44L /* vfat */,
    0x24051905L /* ubifs */,
};
// Those of virtual machines and of programs: what they do depends on the other side.
constexpr std::array foreign_filesystems{0x65735546L /* fuse, virtiofs */, 0x01021997L /* 9p */};

// The name of the filesystem in which `path` is, such as "nfs4".
std::string filesystem_name(const std::string& path, long type) {
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0) {
    const std::string device = fmt::format("{}:{}", major(status.st_dev), minor(status.st_dev));
    std::ifstream mounts("/proc/self/mountinfo");
    std::string line;
    while (std::getline(mounts, line)) {
      // number, parent, device, …, "-", name, …
      const std::size_t name = line.find(" - ");
      if (name == std::string::npos || line.find(' ' + device + ' ') >= name) continue;
      return line.substr(name + 3, line.find(' ', name + 3) - name - 3);
    }
  }
  return fmt::format("one of the unknown type {:#x}", type);
}

// Two machines could write a store on a network's filesystem, and others do not keep files at all.
Result<void> check_filesystem(const std::string& path, std::string_view store) {
  struct statfs filesystem {};
  if (::statfs(path.c_str(), &filesystem) != 0) return wrong_place("open store", store, errno);
  const auto type = static_cast<long>(filesystem.f_type) & 0xFFFF'FFFFL;
  if (std::ranges::find(local_filesystems, type) != local_filesystems.end()) return {};
  const std::string name = filesystem_name(path, type);
  if (std::ranges::find(foreign_filesystems, type) != foreign_filesystems.end()) {
    log::warning("store {}: what a lock and a sync mean here depends on the filesystem, {}", store, name);
    return {};
  }
  return fail(ErrorCode::invalid_argument,
              fmt::format("cannot open store {}: expected a local filesystem, got {}", store, name));
}

class PosixFile final : public File {
 public:
  PosixFile(Descriptor fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}

  Result<void> append(std::span<const std::byte> bytes) override {
    while (!bytes.empty()) {
      const ssize_t written = ::write(fd_.get(), bytes.data(), bytes.size());
      if (written < 0) {
        if (errno == EINTR) continue;
        return failure("write", path_, errno);
      }
      bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
    return {};
  }

  Result<std::size_t> read(std::uint64_t at, std::span<std::byte> into) const override {
    std::size_t done = 0;
    while (done < into.size()) {
      const ssize_t got =
          ::pread(fd_.get(), into.data() + done, into.size() - done, static_cast<off_t>(at + done));
      if (got < 0) {
        if (errno == EINTR) continue;
        return failure("read", path_, errno);
      }
      if (got == 0) break;
      done += static_cast<std::size_t>(got);
    }
    return done;
  }

  Result<std::uint64_t> size() const override {
    struct stat status {};
    if (::fstat(fd_.get(), &status) != 0) return failure("read the size of", path_, errno);
    return static_cast<std::uint64_t>(status.st_size);
  }

  Result<void> truncate(std::uint64_t bytes) override {
    if (::ftruncate(fd_.get(), static_cast<off_t>(bytes)) != 0) return failure("truncate", path_, errno);
    return {};
  }

  Result<void> sync() override {
    if (::fdatasync(fd_.get()) != 0) return failure("sync", path_, errno);
    return {};
  }

 private:
  Descriptor fd_;
  std::string path_;
};

class PosixFiles : public Files {
 public:
  explicit PosixFiles(std::string path) : path_(std::move(path)) {}

  std::string path() const override { return path_; }

  Result<void> open() override {
    if (path_.empty() || path_.front() != '/')
      return fail(ErrorCode::invalid_argument,
                  fmt::format("cannot open store: expected an absolute path, got \"{}\"", path_));
    struct stat status {};
    if (::stat(path_.c_str(), &status) != 0) {
      if (errno != ENOENT) return wrong_place("open store", path_, errno);
      if (auto ok = create_directory(); !ok) return ok;
      if (::stat(path_.c_str(), &status) != 0) return wrong_place("open store", path_, errno);
    }
    if (!S_ISDIR(status.st_mode))
      return fail(ErrorCode::invalid_argument,
                  fmt::format("cannot open store {}: expected a directory, got a file", path_));
    if (auto ok = check_filesystem(path_, path_); !ok) return ok;
    if (status.st_uid != ::geteuid())
      return fail(ErrorCode::invalid_argument,
                  fmt::format("cannot open store {}: expected a directory of user {}, got one of user {}",
                              path_, ::geteuid(), status.st_uid));
    if (::access(path_.c_str(), R_OK | W_OK | X_OK) != 0) return wrong_place("open store", path_, errno);
    directory_ = Descriptor(::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!directory_) return wrong_place("open store", path_, errno);
    return lock();
  }

  Result<std::vector<std::string>> list() const override {
    DIR* const directory = ::opendir(path_.c_str());
    if (directory == nullptr) return failure("list", path_, errno);
    std::vector<std::string> names;
    errno = 0;
    while (const dirent* const entry = ::readdir(directory)) {  // NOLINT: one thread per DIR
      const std::string_view name = entry->d_name;
      if (name != "." && name != ".." && name != lock_name) names.emplace_back(name);
    }
    const int error = errno;
    ::closedir(directory);
    if (error != 0) return failure("list", path_, error);
    std::ranges::sort(names);
    return names;
  }

  Result<std::shared_ptr<File>> create(std::string_view name) override {
    return open(name, O_RDWR | O_APPEND | O_CREAT | O_TRUNC, "create");
  }
  Result<std::shared_ptr<File>> open(std::string_view name) override {
    return open(name, O_RDWR | O_APPEND, "open");
  }

  Result<void> rename(std::string_view from, std::string_view to) override {
    if (::rename(path_of(from).c_str(), path_of(to).c_str()) != 0)
      return failure("rename", path_of(from), errno);
    return {};
  }

  Result<void> remove(std::string_view name) override {
    if (::unlink(path_of(name).c_str()) != 0) return failure("remove", path_of(name), errno);
    return {};
  }

  Result<void> sync_names() override {
    if (::fsync(directory_.get()) != 0) return failure("sync", path_, errno);
    return {};
  }

  std::string boot() const override {
    std::ifstream file("/proc/sys/kernel/random/boot_id");
    std::string id;
    std::getline(file, id);
    return id;
  }

 protected:
  [[nodiscard]] std::string path_of(std::string_view name) const { return fmt::format("{}/{}", path_, name); }

  Result<std::shared_ptr<File>> open(std::string_view name, int flags, std::string_view verb) {
    std::string path = path_of(name);
    Descriptor fd(::open(path.c_str(), O_CLOEXEC | flags, 0600));
    if (!fd) return failure(verb, path, errno);
    return std::make_shared<PosixFile>(std::move(fd), std::move(path));
  }

  [[nodiscard]] Result<void> create_directory() const {
    struct stat link {};
    if (::lstat(path_.c_str(), &link) == 0) {
      return fail(ErrorCode::invalid_argument,
                  fmt::format("cannot open store {}: it is a link to a place that does not exist", path_));
    }
    const std::size_t end = path_.find_last_not_of('/');
    const std::size_t slash = path_.rfind('/', end);
    const std::string parent = path_.substr(0, std::max<std::size_t>(slash, 1));
    if (::lstat(parent.c_str(), &link) != 0 && errno == ENOENT) {
      return fail(ErrorCode::invalid_argument,
                  fmt::format("cannot create store {}: the folder {} does not exist", path_, parent));
    }
    if (auto ok = check_filesystem(parent, path_); !ok) return ok;
    if (::mkdir(path_.c_str(), 0700) != 0 && errno != EEXIST)
      return wrong_place("create store", path_, errno);
    return {};
  }

  // flock: the kernel ends it with the process, however that dies.
  Result<void> lock() {
    const std::string path = path_of(lock_name);
    lock_ = Descriptor(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (!lock_) return wrong_place("open", path, errno);
    if (::flock(lock_.get(), LOCK_EX | LOCK_NB) != 0) {
      if (errno != EWOULDBLOCK) return failure("lock", path, errno);
      std::string owner(200, '\0');
      const ssize_t got = ::pread(lock_.get(), owner.data(), owner.size(), 0);
      owner.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
      while (!owner.empty() && owner.back() == '\n') owner.pop_back();
      lock_.reset();
      return fail(ErrorCode::unavailable, fmt::format("cannot open store {}: it is in use by {}", path_,
                                                      owner.empty() ? "another process" : owner));
    }
    const std::string owner = fmt::format("process {} on {}\n", ::getpid(), host_name());
    if (::ftruncate(lock_.get(), 0) != 0) return failure("write", path, errno);
    const ssize_t written = ::pwrite(lock_.get(), owner.data(), owner.size(), 0);
    // On a full disk, a store is locked, too: only its owner is not named.
    if (written < 0 && !is_lack_of_room(errno)) return failure("write", path, errno);
    return {};
  }

 private:
  std::string path_;
  Descriptor directory_;
  Descriptor lock_;
};

class ReadOnlyPosixFiles final : public PosixFiles {
 public:
  using PosixFiles::PosixFiles;

  Result<void> open() override { return {}; }
  Result<std::shared_ptr<File>> open(std::string_view name) override {
    return PosixFiles::open(name, O_RDONLY, "open");
  }
  Result<std::shared_ptr<File>> create(std::string_view name) override { return refused("create", name); }
  Result<void> rename(std::string_view from, std::string_view) override { return refused("rename", from); }
  Result<void> remove(std::string_view name) override { return refused("remove", name); }
  Result<void> sync_names() override { return {}; }

 private:
  static tl::unexpected<Error> refused(std::string_view verb, std::string_view name) {
    return failure(verb, name, EROFS);
  }
};

}  // namespace

std::unique_ptr<Files> posix_files(std::string path) {
  return std::make_unique<PosixFiles>(std::move(path));
}

std::unique_ptr<Files> read_only_posix_files(std::string path) {
  return std::make_unique<ReadOnlyPosixFiles>(std::move(path));
}

}  // namespace backplane::broker::store
