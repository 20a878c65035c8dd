#pragma once
// The program: its subcommands, and what its end says.

#include "core/process/exit_code.hpp"

namespace backplane::cli {

/// Parses the command line and runs the subcommand that it names. Blocks until that is done. Wrong usage
/// is one line on standard error; no exception leaves.
ExitCode run_program(int argc, const char* const* argv);

}  // namespace backplane::cli
