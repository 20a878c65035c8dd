#include "core/error/error.hpp"

#include <cstdio>
#include <cstdlib>

#include <poll.h>
#include <unistd.h>

namespace backplane {

void check_failed(const char* condition, const char* what_must_hold, const char* file, int line) {
  // Plain stdio: the logger itself may be broken. A full pipe must not keep the process from ending.
  pollfd writable{STDERR_FILENO, POLLOUT, 0};
  if (::poll(&writable, 1, 0) == 1) {
    std::fprintf(stderr, "%s:%d: broken promise: %s (%s)\n", file, line, what_must_hold, condition);
  }
  std::abort();
}

}  // namespace backplane
