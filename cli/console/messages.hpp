#pragma once
// One-line messages on standard error.

#include <string>
#include <string_view>
#include <vector>

#include "core/error/error.hpp"
#include "core/process/exit_code.hpp"

namespace backplane::cli {

/// Writes a line. If nobody reads standard error, it waits a moment at most, and the line is dropped if too
/// many are waiting (core/log/line_writer.hpp). Throws nothing if standard error is closed.
void print_error_line(std::string_view line);

/// Writes `backplane <command>: <text>`, with control characters escaped.
void print_message(std::string_view command, std::string_view text);

/// Writes the error's text as print_message() does. @returns usage for an invalid argument, else failed.
[[nodiscard]] ExitCode print_error(std::string_view command, const Error& error);

/// Writes each error of a configuration on a line of its own. @returns usage.
[[nodiscard]] ExitCode print_errors(const std::vector<std::string>& configuration_errors);

}  // namespace backplane::cli
