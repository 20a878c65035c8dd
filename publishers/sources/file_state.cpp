#include "publishers/sources/file_state.hpp"

#include <cerrno>
#include <charconv>
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

/// Without white space and control characters.
std::string percent_encoded(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte > 0x20 && byte != 0x7f && c != '%') {
      text.push_back(c);
    } else {
      text += fmt::format("%{:02x}", byte);
    }
  }
  return text;
}

std::string percent_decoded(std::string_view text) {
  std::string bytes;
  for (std::size_t at = 0; at < text.size(); ++at) {
    unsigned byte = 0;
    if (text[at] == '%' && at + 2 < text.size() &&
        std::from_chars(text.data() + at + 1, text.data() + at + 3, byte, 16).ec == std::errc{}) {
      bytes.push_back(static_cast<char>(byte));
      at += 2;
    } else {
      bytes.push_back(text[at]);
    }
  }
  return bytes;
}

std::string to_text(const FileState& state) {
  std::string text = fmt::format("{}\nsession {:016x} sequence {} saved {}\n", first_line, state.session,
                                 state.sequence, state.saved_ns);
  text += fmt::format("reserved {} numbering {}\n", state.reserved, state.numbering);
  for (std::size_t i = 0; i < state.files.size(); ++i) {
    const FilePosition& file = state.files[i];
    text += fmt::format("file {} device {} inode {} offset {} line {} head {} {:016x}\n",
                        i == state.active ? "active" : "other", file.id.device, file.id.inode, file.offset,
                        file.line, file.head_bytes, file.head_hash);
    if (i < state.places.size() && !state.places[i].empty())
      text += fmt::format("place {}\n", percent_encoded(state.places[i].string()));
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
    if (word == "end") {
      state.places.resize(state.files.size());
      return state;
    }
    if (word == "reserved" && in >> state.reserved && is_next(in, "numbering") && in >> state.numbering)
      continue;
    if (word == "place" && in >> word) {
      state.places.resize(state.files.size());
      if (!state.places.empty()) state.places.back() = percent_decoded(word);
      continue;
    }
    if (word != "file" || !read_file_line(in, state)) return {};
  }
  return {};
}

tl::unexpected<Error> cannot(std::string_view what, const fs::path& file, int error) {
  return fail(ErrorCode::io, fmt::format("cannot {} {}: {}", what, file.string(), std::strerror(error)));
}

std::uint64_t hash(std::string_view bytes) {
  std::uint64_t hash = 14'695'981'039'346'656'037U;  // FNV-1a
  for (const char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * 1'099'511'628'211U;
  return hash;
}

/// `name`, or its beginning and a hash of `whole` if it is too long for a file name with an ending.
std::string bounded_name(const std::string& name, std::string_view whole) {
  constexpr std::size_t name_bytes_max = 255 - std::string_view(".lock").size();
  if (name.size() <= name_bytes_max) return name;
  const std::string end = fmt::format("~{:016x}", hash(whole));
  std::size_t bytes = name_bytes_max - end.size();
  while ((static_cast<unsigned char>(name[bytes]) & 0xc0U) == 0x80) --bytes;  // not within a character
  return name.substr(0, bytes) + end;
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
  // An empty variable counts as not set.
  const auto variable = [](const char* name) -> std::string_view {
    const char* const value = std::getenv(name);
    return value != nullptr ? value : "";
  };
  // systemd separates several directories by colons; the first is ours.
  const std::string_view systemd = variable("STATE_DIRECTORY");
  const std::string_view xdg = variable("XDG_STATE_HOME");
  const std::string_view home = variable("HOME");
  fs::path folder;
  if (const auto first = systemd.substr(0, systemd.find(':')); !first.empty()) {
    folder = first;
  } else if (fs::path(xdg).is_absolute()) {  // others are to be ignored, says its specification
    folder = fs::path(xdg) / "backplane";
  } else if (!home.empty()) {
    folder = fs::path(home) / ".local" / "state" / "backplane";
  } else {
    return {};
  }
  std::error_code ignored;
  const std::string path = fs::absolute(followed, ignored).string();
  return folder / bounded_name(topic + "@" + topic_token(path), topic + "@" + path);
}

}  // namespace backplane::sources
