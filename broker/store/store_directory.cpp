#include "broker/store/store_directory.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "broker/store/event_log.hpp"
#include "broker/store/store_damage.hpp"

namespace backplane::broker::store {
namespace {

namespace fs = std::filesystem;

/// Whether it has the file `store` or a segment.
bool is_store(const std::string& path, std::error_code& error) {
  for (fs::directory_iterator each(path, error); !error && each != fs::directory_iterator();
       each.increment(error)) {
    const std::string name = each->path().filename().string();
    const bool is_known = name == mark_name || (name.ends_with(log_suffix) && parse_file_name(name));
    std::error_code ignored;
    if (is_known && each->is_regular_file(ignored)) return true;
  }
  return false;
}

}  // namespace

Result<std::vector<std::string>> find_stores(const std::string& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (status.type() == fs::file_type::not_found)
    return fail(ErrorCode::invalid_argument, fmt::format("{}: expected a store, got nothing there", path));
  const auto cannot = [&] {
    return fail(ErrorCode::io, fmt::format("cannot read store {}: {}", path, error.message()));
  };
  if (error) return cannot();
  if (!fs::is_directory(status))
    return fail(ErrorCode::invalid_argument, fmt::format("{}: expected a directory, got a file", path));
  if (is_store(path, error)) return std::vector{path};
  if (error) return cannot();
  std::vector<std::string> found;
  for (fs::directory_iterator each(path, error); !error && each != fs::directory_iterator();
       each.increment(error)) {
    std::error_code ignored;
    if (each->is_directory(ignored) && is_store(each->path().string(), ignored))
      found.push_back(each->path().string());
  }
  if (error) return cannot();
  if (found.empty())
    return fail(ErrorCode::invalid_argument,
                fmt::format("{}: expected a store, got a directory without one", path));
  std::ranges::sort(found);
  return found;
}

std::string store_user(const std::string& path) {
  const std::string lock = path + "/lock";
  struct stat status {};
  if (::stat(lock.c_str(), &status) != 0) return {};
  // 1: FLOCK  ADVISORY  WRITE 4711 fe:00:10952965 0 EOF
  const std::string inode = fmt::format(":{}", status.st_ino);
  const std::string device = fmt::format("{:02x}:{:02x}", major(status.st_dev), minor(status.st_dev));
  std::string owner;
  std::ifstream text(lock);
  std::getline(text, owner);
  std::ifstream locks("/proc/locks");
  for (std::string line; std::getline(locks, line);) {
    std::istringstream words(line);
    std::string number;
    std::string kind;
    std::string mode;
    std::string access;
    std::string pid;
    std::string file;
    if (!(words >> number >> kind >> mode >> access >> pid >> file)) continue;  // "->": one that waits
    if (kind != "FLOCK" || access != "WRITE" || !file.ends_with(inode)) continue;
    // Some file systems have another device here, and another container another number of the process.
    if (file != device + inode && !owner.starts_with(fmt::format("process {} ", pid))) continue;
    return owner.empty() ? fmt::format("process {}", pid) : owner;
  }
  return {};
}

}  // namespace backplane::broker::store
