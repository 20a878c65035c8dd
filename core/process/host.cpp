#include "core/process/host.hpp"

#include <array>
#include <cerrno>
#include <climits>
#include <system_error>

#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

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

std::uint64_t raise_open_files_limit() noexcept {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
  rlimit raised = limit;
  raised.rlim_cur = raised.rlim_max;
  return setrlimit(RLIMIT_NOFILE, &raised) == 0 ? raised.rlim_cur : limit.rlim_cur;
}

}  // namespace backplane
