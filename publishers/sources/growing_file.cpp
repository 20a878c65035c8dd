#include "publishers/sources/growing_file.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

namespace backplane::sources {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t chunk_bytes = 64u << 10;
constexpr std::uint64_t head_bytes_max = 256;

FileId id_of(const struct stat& status) {
  return {static_cast<std::uint64_t>(status.st_dev), static_cast<std::uint64_t>(status.st_ino)};
}

std::int64_t modified_ns_of(const struct stat& status) {
  return status.st_mtim.tv_sec * std::int64_t{1'000'000'000} + status.st_mtim.tv_nsec;
}

bool is_compressed(const fs::path& file) {
  constexpr std::array<std::string_view, 6> endings{".gz", ".bz2", ".xz", ".zst", ".lz4", ".zip"};
  return std::find(endings.begin(), endings.end(), file.extension().string()) != endings.end();
}

}  // namespace

GrowingFile::GrowingFile(int fd, const FilePosition& position, std::size_t line_bytes_max)
    : fd_(fd), line_bytes_max_(line_bytes_max), lines_(line_bytes_max), chunk_(chunk_bytes) {
  begin_at(position);
}

Result<GrowingFile> GrowingFile::open(const fs::path& path, const FilePosition& position,
                                      std::size_t line_bytes_max) {
  // O_NONBLOCK: opening a pipe that has no writer must not block.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    return fail(errno == ENOENT ? ErrorCode::not_found : ErrorCode::io,
                fmt::format("cannot read {}: {}", path.string(), std::strerror(errno)));
  }
  GrowingFile file(fd, position, line_bytes_max);
  struct stat status {};
  if (::fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("{}: expected a regular file, got something else", path.string()));
  }
  file.position_.id = id_of(status);
  return file;
}

GrowingFile::~GrowingFile() {
  if (fd_ >= 0) ::close(fd_);
}

GrowingFile::GrowingFile(GrowingFile&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      line_bytes_max_(other.line_bytes_max_),
      position_(other.position_),
      read_to_(other.read_to_),
      lines_(std::move(other.lines_)),
      chunk_(std::move(other.chunk_)) {}

GrowingFile& GrowingFile::operator=(GrowingFile&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(line_bytes_max_, other.line_bytes_max_);
  std::swap(position_, other.position_);
  std::swap(read_to_, other.read_to_);
  std::swap(lines_, other.lines_);
  std::swap(chunk_, other.chunk_);
  return *this;
}

void GrowingFile::begin_at(const FilePosition& position) {
  position_ = position;
  read_to_ = position.offset;
  lines_ = LineSplitter(line_bytes_max_);
}

std::uint64_t GrowingFile::size() const {
  struct stat status {};
  return ::fstat(fd_, &status) == 0 ? static_cast<std::uint64_t>(status.st_size) : 0;
}

std::int64_t GrowingFile::modified_ns() const {
  struct stat status {};
  return ::fstat(fd_, &status) == 0 ? modified_ns_of(status) : 0;
}

std::string_view GrowingFile::read() {
  ssize_t got = 0;
  do got = ::pread(fd_, chunk_.data(), chunk_.size(), static_cast<off_t>(read_to_));
  while (got < 0 && errno == EINTR);
  if (got <= 0) return {};
  // The chunk belongs to the known content only if the file has not been truncated by now.
  if (truncated()) return {};
  read_to_ += static_cast<std::uint64_t>(got);
  extend_head();
  return {chunk_.data(), static_cast<std::size_t>(got)};
}

FilePosition GrowingFile::position() const noexcept {
  FilePosition position = position_;
  position.offset += lines_.end();
  position.line += lines_.number();
  return position;
}

std::uint64_t GrowingFile::hash_head(std::uint64_t bytes) const {
  std::array<char, head_bytes_max> head{};
  const std::size_t length = std::min<std::uint64_t>(bytes, head.size());
  const ssize_t got = ::pread(fd_, head.data(), length, 0);
  std::uint64_t hash = 14'695'981'039'346'656'037U;  // FNV-1a
  for (ssize_t i = 0; i < got; ++i) {
    hash = (hash ^ static_cast<unsigned char>(head[static_cast<std::size_t>(i)])) * 1'099'511'628'211U;
  }
  return hash;
}

void GrowingFile::extend_head() {
  const std::uint64_t bytes = std::min(read_to_, head_bytes_max);
  if (position_.head_bytes >= bytes) return;
  position_.head_bytes = bytes;
  position_.head_hash = hash_head(bytes);
}

bool GrowingFile::truncated() const {
  return size() < std::max(read_to_, position_.head_bytes) ||
         (position_.head_bytes > 0 && hash_head(position_.head_bytes) != position_.head_hash);
}

void GrowingFile::restart() {
  begin_at({.id = position_.id});
}

void GrowingFile::skip_to_end() {
  for (std::string_view chunk = read(); !chunk.empty(); chunk = read()) {
    lines_.feed(chunk);
    while (lines_.take_line()) {
    }
  }
  begin_at(position());
}

std::vector<fs::path> rotated_files(const fs::path& path) {
  std::vector<std::pair<std::int64_t, fs::path>> found;
  const std::string name = path.filename().string();
  std::error_code error;
  for (fs::directory_iterator entry(path.has_parent_path() ? path.parent_path() : ".", error), end;
       !error && entry != end; entry.increment(error)) {
    const std::string other = entry->path().filename().string();
    if (!other.starts_with(name + '.') && !other.starts_with(name + '-')) continue;
    struct stat status {};
    if (is_compressed(entry->path()) || ::lstat(entry->path().c_str(), &status) != 0 ||
        !S_ISREG(status.st_mode)) {
      continue;
    }
    found.emplace_back(modified_ns_of(status), entry->path());
  }
  std::sort(found.begin(), found.end());
  std::vector<fs::path> files;
  for (auto& [modified_ns, file] : found) files.push_back(std::move(file));
  return files;
}

Result<GrowingFile> find_moved(const fs::path& path, const FilePosition& position,
                               std::int64_t copied_after_ns, std::size_t line_bytes_max) {
  std::vector<fs::path> candidates = rotated_files(path);
  candidates.push_back(path);
  for (const bool by_inode : {true, false}) {
    if (!by_inode && position.head_bytes == 0) break;  // a copy is recognised by its first bytes
    for (auto candidate = candidates.rbegin(); candidate != candidates.rend(); ++candidate) {
      auto file = GrowingFile::open(*candidate, position, line_bytes_max);
      if (!file || file->truncated()) continue;
      const bool ours = file->id() == position.id;
      if (by_inode ? ours : !ours && file->modified_ns() >= copied_after_ns) return file;
    }
  }
  return fail(ErrorCode::not_found, fmt::format("{}: cannot find the file that contains line {}",
                                                path.string(), position.line + 1));
}

}  // namespace backplane::sources
