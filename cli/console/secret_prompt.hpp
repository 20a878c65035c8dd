#pragma once
// Secrets that a person types.

#include <string>

#include "core/error/error.hpp"

namespace backplane::cli {

/// Writes `prompt` to standard error and reads a line from the terminal at standard input, which does not
/// show what is typed. Blocks until the line is complete. A signal that ends the program first makes the
/// terminal show what is typed again. @returns the line without its end; an error if standard input is no
/// terminal, or if it ends before the line does.
Result<std::string> prompt_for_secret(const std::string& prompt);

}  // namespace backplane::cli
