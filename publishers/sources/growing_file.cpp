#include "publishers/sources/growing_file.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <functional>
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

fs::path folder_of(const fs::path& file) {
  return file.has_parent_path() ? file.parent_path() : fs::path(".");
}

/// Calls `use` for each regular, uncompressed file in the folder.
void for_each_file(const fs::path& folder,
                   const std::function<void(const fs::path&, const struct stat&)>& use) {
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    struct stat status {};
    if (is_compressed(entry->path()) || ::lstat(entry->path().c_str(), &status) != 0) continue;
    if (S_ISREG(status.st_mode)) use(entry->path(), status);
  }
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

/// Whether the digits begin with a year and a month.
bool begins_with_month(std::string_view digits) {
  if (digits.size() < 6 || (!digits.starts_with("19") && !digits.starts_with("20"))) return false;
  const int month = (digits[4] - '0') * 10 + (digits[5] - '0');
  return month >= 1 && month <= 12;
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
  lines_ = LineSplitter(line_bytes_max_, {.at_beginning = position.offset == 0, .skip_leading_nuls = true});
}

std::uint64_t GrowingFile::size() const {
  struct stat status {};
  return ::fstat(fd_, &status) == 0 ? static_cast<std::uint64_t>(status.st_size) : 0;
}

std::int64_t GrowingFile::modified_ns() const {
  struct stat status {};
  return ::fstat(fd_, &status) == 0 ? modified_ns_of(status) : 0;
}

std::int64_t GrowingFile::created_ns() const {
  struct statx status {};
  if (::statx(fd_, "", AT_EMPTY_PATH, STATX_BTIME, &status) != 0 || (status.stx_mask & STATX_BTIME) == 0)
    return 0;
  return status.stx_btime.tv_sec * std::int64_t{1'000'000'000} + status.stx_btime.tv_nsec;
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

std::uint64_t GrowingFile::skip_lines(std::uint64_t count) {
  while (count > 0) {
    if (lines_.take_line()) {
      if (!lines_.too_long()) --count;
      continue;
    }
    const std::string_view chunk = read();
    if (!chunk.empty()) {
      lines_.feed(chunk);
      continue;
    }
    if (lines_.take_rest()) --count;
    break;
  }
  return count;
}

void GrowingFile::skip_to_end() {
  for (std::string_view chunk = read(); !chunk.empty(); chunk = read()) {
    lines_.feed(chunk);
    while (lines_.take_line()) {
    }
  }
  begin_at(position());
}

std::vector<fs::path> file_places(const fs::path& path) {
  constexpr std::size_t links_max = 40;  // as in the kernel
  std::vector<fs::path> places{path};
  std::error_code error;
  while (places.size() <= links_max && fs::is_symlink(places.back(), error)) {
    const fs::path target = fs::read_symlink(places.back(), error);
    if (error) break;
    places.push_back(folder_of(places.back()) / target);
  }
  return places;
}

bool is_rotation_suffix(std::string_view suffix) {
  if (suffix == "old") return true;
  std::string digits;
  for (const char c : suffix) {
    if (is_digit(c)) {
      digits.push_back(c);
    } else if (std::string_view("-._:TZ+").find(c) == std::string_view::npos) {
      return false;
    }
  }
  const auto first = std::min(suffix.find_first_not_of("0123456789"), suffix.size());
  if (first == suffix.size()) {
    const bool number = first >= 1 && first <= 3;
    const bool unix_time = first == 10 && suffix.front() == '1';
    return number || unix_time || first == 8 || (first >= 6 && begins_with_month(digits));
  }
  const bool day_first = first == 2 && digits.size() == 8;  // 31-12-2024
  return day_first || ((first == 4 || first >= 8) && begins_with_month(digits));
}

std::vector<fs::path> rotated_files(const std::vector<fs::path>& places) {
  std::vector<std::pair<std::int64_t, fs::path>> found;
  std::vector<FileId> ids;
  for (const fs::path& place : places) {
    const std::string name = place.filename().string();
    for_each_file(folder_of(place), [&](const fs::path& path, const struct stat& status) {
      const std::string other = path.filename().string();
      if (other.size() <= name.size() + 1 || !other.starts_with(name)) return;
      const char separator = other[name.size()];
      if ((separator != '.' && separator != '-') || !is_rotation_suffix(other.substr(name.size() + 1)))
        return;
      if (std::find(ids.begin(), ids.end(), id_of(status)) != ids.end()) return;
      ids.push_back(id_of(status));
      found.emplace_back(modified_ns_of(status), path);
    });
  }
  std::sort(found.begin(), found.end());
  std::vector<fs::path> files;
  for (auto& [modified_ns, file] : found) files.push_back(std::move(file));
  return files;
}

Result<GrowingFile> find_moved(const std::vector<fs::path>& places, const FilePosition& position,
                               std::int64_t copied_after_ns, std::size_t line_bytes_max) {
  std::vector<fs::path> candidates = rotated_files(places);
  candidates.insert(candidates.end(), places.rbegin(), places.rend());
  const bool content_known = position.head_bytes > 0;
  std::vector<fs::path> renamed;
  for (const fs::path& place : places) {
    // An inode number alone may belong to another file by now.
    if (!content_known) break;
    for_each_file(folder_of(place), [&](const fs::path& path, const struct stat& status) {
      if (id_of(status) == position.id) renamed.push_back(path);
    });
  }
  candidates.insert(candidates.begin(), renamed.begin(), renamed.end());
  for (const bool by_inode : {true, false}) {
    if (!by_inode && !content_known) break;  // a copy is recognised by its first bytes
    for (auto candidate = candidates.rbegin(); candidate != candidates.rend(); ++candidate) {
      auto file = GrowingFile::open(*candidate, position, line_bytes_max);
      if (!file || file->truncated()) continue;
      const bool ours = file->id() == position.id;
      if (by_inode ? ours : !ours && file->modified_ns() >= copied_after_ns) return file;
    }
  }
  return fail(ErrorCode::not_found, fmt::format("{}: cannot find the file that contains line {}",
                                                places.front().string(), position.line + 1));
}

}  // namespace backplane::sources
