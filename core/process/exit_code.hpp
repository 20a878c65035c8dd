#pragma once
// What a program's end tells the script that ran it.

namespace backplane {

enum class ExitCode : int {
  done = 0,
  failed = 1,  ///< something went wrong while running
  usage = 2,   ///< wrong usage or configuration: trying again as it is won't help
  gaps = 3,    ///< events were missed, and --strict forbids that
};

}  // namespace backplane
