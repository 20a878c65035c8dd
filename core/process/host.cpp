#include "core/process/host.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <climits>
#include <string_view>
#include <system_error>

#include <fcntl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/process/descriptor.hpp"

namespace backplane {

std::string host_name() {
  std::array<char, HOST_NAME_MAX + 1> buffer{};
  if (gethostname(buffer.data(), buffer.size() - 1) != 0) return "localhost";
  std::string name(buffer.data());
  name.erase(std::min(name.find('.'), name.size()));
  return name.empty() ? "localhost" : name;
}

std::uint64_t random_id() {
  std::uint64_t id = 0;
  while (id == 0) {
    const ssize_t bytes = getrandom(&id, sizeof id, 0);
    if (bytes < 0 && errno == EINTR) id = 0;
    if (bytes < 0 && errno != EINTR) throw std::system_error(errno, std::generic_category(), "getrandom");
  }
  return id;
}

namespace {

/// The beginning of a small file; empty if it cannot be read.
std::string read_small(const std::string& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::array<char, 4096> bytes{};
  const ssize_t size = file ? ::read(file.get(), bytes.data(), bytes.size()) : 0;
  return {bytes.data(), static_cast<std::size_t>(std::max<ssize_t>(size, 0))};
}

/// The number at the beginning of `text`; 0 if it begins with something else.
std::uint64_t number_at(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  std::uint64_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

/// The limit of the control group (version 2); 0: it has none.
std::uint64_t group_memory_max() {
  const std::string groups = read_small("/proc/self/cgroup");
  constexpr std::string_view unified = "0::";
  if (!groups.starts_with(unified)) return 0;
  const std::string path = groups.substr(unified.size(), groups.find('\n') - unified.size());
  return number_at(read_small("/sys/fs/cgroup" + path + "/memory.max"));  // "max": no limit
}

std::uint64_t machine_memory() {
  const std::string memory = read_small("/proc/meminfo");
  constexpr std::string_view total = "MemTotal:";
  const std::size_t at = memory.find(total);
  return at == std::string::npos ? 0 : 1024 * number_at(std::string_view(memory).substr(at + total.size()));
}

}  // namespace

ProcessFigures process_figures() {
  ProcessFigures figures;
  const std::string pages = read_small("/proc/self/statm");
  if (const std::size_t space = pages.find(' '); space != std::string::npos) {
    figures.memory_bytes = number_at(std::string_view(pages).substr(space)) *
                           static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  }
  const std::uint64_t group = group_memory_max();
  const std::uint64_t machine = machine_memory();
  figures.memory_bytes_max = group == 0 || machine == 0 ? std::max(group, machine) : std::min(group, machine);
  // The kernel gives out the lowest one.
  const Descriptor lowest(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  figures.open_files = lowest ? static_cast<std::uint64_t>(lowest.get()) : 0;
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) figures.open_files_max = limit.rlim_cur;
  if (!lowest) figures.open_files = figures.open_files_max;
  return figures;
}

std::uint64_t raise_open_files_limit() noexcept {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
  rlimit raised = limit;
  raised.rlim_cur = raised.rlim_max;
  return setrlimit(RLIMIT_NOFILE, &raised) == 0 ? raised.rlim_cur : limit.rlim_cur;
}

}  // namespace backplane
