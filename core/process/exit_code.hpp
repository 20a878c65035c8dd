#pragma once
// Exit codes.

namespace backplane {

enum class ExitCode : int {
  done = 0,
  failed = 1,  ///< something failed at run time
  usage = 2,   ///< wrong usage or configuration: a retry will fail, too
  gaps = 3,    ///< gaps were seen, and --strict forbids them
};

}  // namespace backplane
