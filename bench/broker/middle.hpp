#pragma once
// A process that a benchmark runs and whose CPU time it reads.

#include <cstdio>
#include <functional>
#include <string>

#include <sys/types.h>

namespace backplane::bench {

struct Endpoints {
  std::string ingress;
  std::string egress;
  std::string control;
};

/// A child process that prints a ready line with its endpoints. Move-free; end() it before it goes.
class Middle {
 public:
  /// @param child what the child does; its ready line goes to the descriptor.
  explicit Middle(const std::function<void(int ready_fd)>& child);
  ~Middle();
  Middle(const Middle&) = delete;
  Middle& operator=(const Middle&) = delete;

  /// Ends it by SIGTERM and waits. @returns the CPU time that it took, in ns.
  double end();

  Endpoints endpoints;

 private:
  pid_t pid_{};
  std::FILE* out_{};
};

/// What a child does to become the broker that stands in this program's folder, on free ports.
void run_broker(int ready_fd, const std::string& config_file = {});

}  // namespace backplane::bench
