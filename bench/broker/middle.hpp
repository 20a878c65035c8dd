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

/// A child process that prints a ready line with its endpoints. Neither copied nor moved; call end() before
/// it is destroyed.
class Middle {
 public:
  /// @param child runs in the child; writes its ready line to the descriptor
  explicit Middle(const std::function<void(int ready_fd)>& child);
  ~Middle();
  Middle(const Middle&) = delete;
  Middle& operator=(const Middle&) = delete;

  /// The child's CPU time so far, in ns.
  [[nodiscard]] double cpu_ns() const;
  /// Ends the child by SIGTERM and waits for it. @returns its CPU time in ns
  double end();

  Endpoints endpoints;

 private:
  pid_t pid_{};
  std::FILE* out_{};
};

/// For a child: becomes the broker in this program's folder, on free ports.
void run_broker(int ready_fd, const std::string& config_file = {});

}  // namespace backplane::bench
