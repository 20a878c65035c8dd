#include "bench/broker/middle.hpp"

#include <csignal>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <vector>

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

namespace backplane::bench {
namespace {

std::string word_after(const std::string& line, const std::string& key) {
  const std::size_t at = line.find(key);
  if (at == std::string::npos) return {};
  const std::size_t begin = at + key.size();
  return line.substr(begin, line.find_first_of(" \n", begin) - begin);
}

}  // namespace

Middle::Middle(const std::function<void(int ready_fd)>& child) {
  int fds[2];
  if (::pipe(fds) != 0) std::exit(1);
  pid_ = ::fork();
  if (pid_ == 0) {
    ::close(fds[0]);
    child(fds[1]);
    ::_exit(127);
  }
  ::close(fds[1]);
  out_ = ::fdopen(fds[0], "r");
  char line[4096];
  if (std::fgets(line, sizeof line, out_) == nullptr) {
    std::fputs("the process in the middle printed no ready line\n", stderr);
    std::exit(1);
  }
  endpoints = {word_after(line, " ingress="), word_after(line, " egress="), word_after(line, " control=")};
}

Middle::~Middle() {
  std::fclose(out_);
}

double Middle::cpu_ns() const {
  clockid_t clock{};
  timespec time{};
  if (::clock_getcpuclockid(pid_, &clock) != 0 || ::clock_gettime(clock, &time) != 0) {
    std::fputs("cannot read the CPU clock of the process in the middle\n", stderr);
    std::exit(1);
  }
  return static_cast<double>(time.tv_sec) * 1e9 + static_cast<double>(time.tv_nsec);
}

double Middle::end() {
  ::kill(pid_, SIGTERM);
  int status = 0;
  rusage usage{};
  ::wait4(pid_, &status, 0, &usage);
  const auto ns = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) * 1e9 + static_cast<double>(time.tv_usec) * 1e3;
  };
  return ns(usage.ru_utime) + ns(usage.ru_stime);
}

void run_broker(int ready_fd, const std::string& config_file) {
  const std::string program = std::filesystem::read_symlink("/proc/self/exe").replace_filename("backplane");
  const std::string any = "tcp://127.0.0.1:0";
  std::vector<std::string> arguments{program, "broker",   "--log-level", "error",      "--ingress",
                                     any,     "--egress", any,           "--control",  any,
                                     "--raw", any,        "--metrics",   "127.0.0.1:0"};
  if (!config_file.empty()) arguments.insert(arguments.end(), {"--config", config_file});
  std::vector<char*> pointers;
  for (std::string& argument : arguments) pointers.push_back(argument.data());
  pointers.push_back(nullptr);
  ::dup2(ready_fd, STDOUT_FILENO);
  ::execv(program.c_str(), pointers.data());
}

}  // namespace backplane::bench
