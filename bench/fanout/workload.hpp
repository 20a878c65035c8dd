#pragma once
// What the benchmarks of the engine have in common: clients, messages and CPU time.

#include <cstddef>
#include <cstdint>
#include <ctime>
#include <span>
#include <string>
#include <string_view>

#include <sys/resource.h>

#include "fanout/client.hpp"

namespace backplane::bench {

/// Lines as a gateway would write them, each with another number.
class Lines {
 public:
  static constexpr std::size_t bytes = 150;

  Lines() : line_(bytes, '.') {
    line_.replace(0, 7, "bench 0");
    line_.back() = '\n';
  }
  std::string_view next() {
    std::uint64_t number = ++number_;
    for (std::size_t at = 20; number > 0; number /= 10) line_[at--] = static_cast<char>('0' + number % 10);
    return line_;
  }

 private:
  std::string line_;
  std::uint64_t number_{};
};

/// Ignores everything.
class IgnoringHandler final : public fanout::Handler {
 public:
  void on_bytes(std::string_view) override {}
  void on_input_end() override {}
  void report_losses(std::span<const fanout::Loss>, std::string&) override {}
  void say_goodbye(std::string_view) override {}
};

inline double thread_cpu_us() {
  timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) * 1e6 + static_cast<double>(time.tv_nsec) / 1e3;
}

inline void raise_file_limit() {
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) != 0) return;
  files.rlim_cur = files.rlim_max;
  (void)::setrlimit(RLIMIT_NOFILE, &files);
}

}  // namespace backplane::bench
