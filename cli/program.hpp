#pragma once
// The program with all its subcommands.

#include "core/process/exit_code.hpp"

namespace backplane::cli {

/// Parses the command line and runs the subcommand that it names. Blocks until the subcommand ends. Reports
/// wrong usage in one line on standard error. Throws nothing.
ExitCode run_program(int argc, const char* const* argv);

}  // namespace backplane::cli
