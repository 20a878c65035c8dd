#pragma once
// What every subcommand is to the program: options on the command line, and what to do with them.

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "core/error/error.hpp"
#include "core/process/exit_code.hpp"

namespace CLI {
class App;
}

namespace backplane::cli {

/// Does what the subcommand is for, after its options were parsed. Called once, on the main thread.
using Run = std::function<ExitCode()>;

/// Each adds a subcommand to `program` and gives what runs it. One file a subcommand.
Run add_audit(CLI::App& program);
Run add_broker(CLI::App& program);
Run add_config(CLI::App& program);
Run add_gateway(CLI::App& program);
Run add_get(CLI::App& program);
Run add_pub(CLI::App& program);
Run add_publish(CLI::App& program);
Run add_replay(CLI::App& program);
Run add_sub(CLI::App& program);
Run add_top(CLI::App& program);
Run add_topics(CLI::App& program);
Run add_up(CLI::App& program);
/// Below `broker`.
Run add_drain(CLI::App& broker);

/// Writes `backplane <subcommand>: <text>` on standard error, control characters escaped.
void complain(std::string_view subcommand, std::string_view text);

/// The same for an error; usage where trying again as it is won't help, else failed.
[[nodiscard]] ExitCode complain(std::string_view subcommand, const Error& error);

/// What is wrong with a configuration, a line each. @returns usage.
[[nodiscard]] ExitCode complain(const std::vector<std::string>& configuration_errors);

}  // namespace backplane::cli
