#pragma once
// The program's subcommands, and how each of them reports what goes wrong.

#include <string>
#include <string_view>
#include <vector>

#include "cli/command_line.hpp"
#include "core/error/error.hpp"
#include "core/process/exit_code.hpp"

namespace backplane::cli {

/// Each adds one subcommand to `program`, with its options and what it runs. Each has a file of its own.
void add_audit(const Command& program);
void add_broker(const Command& program);
void add_config(const Command& program);
void add_gateway(const Command& program);
void add_get(const Command& program);
void add_pub(const Command& program);
void add_publish(const Command& program);
void add_replay(const Command& program);
void add_sub(const Command& program);
void add_top(const Command& program);
void add_topics(const Command& program);
void add_up(const Command& program);
/// A subcommand of `broker`.
void add_drain(const Command& broker);

/// Writes `backplane <subcommand>: <text>` on standard error, control characters escaped.
void complain(std::string_view subcommand, std::string_view text);

/// The same for an error; usage where trying again as it is won't help, else failed.
[[nodiscard]] ExitCode complain(std::string_view subcommand, const Error& error);

/// What is wrong with a configuration, a line each. @returns usage.
[[nodiscard]] ExitCode complain(const std::vector<std::string>& configuration_errors);

}  // namespace backplane::cli
