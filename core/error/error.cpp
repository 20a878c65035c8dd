#include "core/error/error.hpp"

#include <cstdio>
#include <cstdlib>

namespace backplane {

void check_failed(const char* condition, const char* what_must_hold, const char* file, int line) {
  // Plain stdio: the logger itself may be broken.
  std::fprintf(stderr, "%s:%d: broken promise: %s (%s)\n", file, line, what_must_hold, condition);
  std::abort();
}

}  // namespace backplane
