#include "publishers/sources/file_state.hpp"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include "publishers/sources/sources.hpp"
#include "publishers/sources/topic_token.hpp"

namespace backplane::sources {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view first_line = "backplane file position 1";

std::string to_text(const FileState& state) {
  std::string text = fmt::format("{}\nsession {:016x} sequence {} saved {}\n", first_line, state.session,
                                 state.sequence, state.saved_ns);
  for (std::size_t i = 0; i < state.files.size(); ++i) {
    const FilePosition& file = state.files[i];
    text += fmt::format("file {} device {} inode {} offset {} line {} head {} {:016x}\n",
                        i == state.active ? "active" : "other", file.id.device, file.id.inode, file.offset,
                        file.line, file.head_bytes, file.head_hash);
  }
  return text + "end\n";
}

/// Reads the next word. @returns whether it is `expected`.
bool is_next(std::istream& in, std::string_view expected) {
  std::string word;
  return in >> word && word == expected;
}

bool read_file_line(std::istream& in, FileState& state) {
  std::string which;
  FilePosition file;
  const bool read = in >> which && is_next(in, "device") && in >> file.id.device && is_next(in, "inode") &&
                    in >> file.id.inode && is_next(in, "offset") && in >> file.offset &&
                    is_next(in, "line") && in >> file.line && is_next(in, "head") && in >> file.head_bytes &&
                    in >> std::hex && in >> file.head_hash && in >> std::dec;
  if (!read) return false;
  if (which == "active") state.active = state.files.size();
  state.files.push_back(file);
  return true;
}

std::optional<FileState> from_text(const std::string& text) {
  std::istringstream in(text);
  std::string line;
  if (!std::getline(in, line) || line != first_line) return {};
  FileState state;
  const bool read = is_next(in, "session") && in >> std::hex && in >> state.session && in >> std::dec &&
                    is_next(in, "sequence") && in >> state.sequence && is_next(in, "saved") &&
                    in >> state.saved_ns;
  if (!read) return {};
  for (std::string word; in >> word;) {
    if (word == "end") return state;
    if (word != "file" || !read_file_line(in, state)) return {};
  }
  return {};
}

tl::unexpected<Error> cannot(std::string_view what, const fs::path& file, int error) {
  return fail(ErrorCode::io, fmt::format("cannot {} {}: {}", what, file.string(), std::strerror(error)));
}

}  // namespace

Result<FileStateStore> FileStateStore::open(const fs::path& file) {
  std::error_code error;
  if (file.has_parent_path()) fs::create_directories(file.parent_path(), error);
  if (error) return cannot("create the folder of", file, error.value());
  // A file of its own, because save() replaces the state file.
  const fs::path lock = file.string() + ".lock";
  const int fd = ::open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return cannot("write", lock, errno);
  FileStateStore store(file, fd);
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("cannot lock {}: another process has this state file open", file.string()));
  }
  return store;
}

FileStateStore::~FileStateStore() {
  if (lock_fd_ >= 0) ::close(lock_fd_);
}

FileStateStore::FileStateStore(FileStateStore&& other) noexcept
    : file_(std::move(other.file_)), lock_fd_(std::exchange(other.lock_fd_, -1)) {}

FileStateStore& FileStateStore::operator=(FileStateStore&& other) noexcept {
  std::swap(file_, other.file_);
  std::swap(lock_fd_, other.lock_fd_);
  return *this;
}

Result<std::optional<FileState>> FileStateStore::load() const {
  std::ifstream in(file_, std::ios::binary);
  if (!in && errno == ENOENT) return std::optional<FileState>{};
  std::ostringstream text;
  text << in.rdbuf();
  auto state = from_text(text.str());
  if (!in || !state) {
    return fail(
        ErrorCode::invalid_argument,
        fmt::format(
            "{}: expected a state file written by `publish file`, got something else; delete the file "
            "to start over",
            file_.string()));
  }
  return state;
}

Result<void> FileStateStore::save(const FileState& state) const {
  const fs::path next = file_.string() + ".new";
  const int fd = ::open(next.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) return cannot("write", next, errno);
  const std::string text = to_text(state);
  const ssize_t written = ::write(fd, text.data(), text.size());
  const int error = written < 0 ? errno : ENOSPC;
  const bool whole = written == static_cast<ssize_t>(text.size());
  const bool on_disk = whole && ::fdatasync(fd) == 0;
  const int sync_error = errno;
  ::close(fd);
  if (!on_disk) return cannot("write", next, whole ? sync_error : error);
  if (::rename(next.c_str(), file_.c_str()) != 0) return cannot("replace", file_, errno);
  return {};
}

fs::path default_state_file(const fs::path& followed, const std::string& topic) {
  fs::path folder;
  if (const char* const systemd = std::getenv("STATE_DIRECTORY")) {
    folder = systemd;
  } else if (const char* const xdg = std::getenv("XDG_STATE_HOME")) {
    folder = fs::path(xdg) / "backplane";
  } else if (const char* const home = std::getenv("HOME")) {
    folder = fs::path(home) / ".local" / "state" / "backplane";
  } else {
    return {};
  }
  std::error_code ignored;
  return folder / (topic + "@" + topic_token(fs::absolute(followed, ignored).string()));
}

}  // namespace backplane::sources
