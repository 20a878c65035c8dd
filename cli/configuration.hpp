#pragma once
// The whole configuration file: what each program describes, put together. Every program reads all of it,
// so that a mistake is told wherever it is made.

#include <optional>
#include <string>
#include <vector>

#include "broker/config.hpp"
#include "cli/command_line.hpp"
#include "core/config/section.hpp"
#include "core/config/source.hpp"
#include "core/log/log.hpp"
#include "gateway/config.hpp"

namespace backplane::cli {

/// One publisher that `up` runs: `[[publish]]`.
struct PublishConfig {
  std::string source;                  ///< as in `backplane publish SOURCE`
  std::vector<std::string> arguments;  ///< the rest of that command line
};

struct Configuration {
  log::Level log_level = log::Level::info;
  broker::BrokerConfig broker;
  gateway::GatewayConfig gateway;
  std::vector<PublishConfig> publish;
};

/// The one description of the file: for reading, printing and the reference.
void describe(config::Section& root, Configuration& configuration);

using ConfigurationResult = tl::expected<Configuration, std::vector<std::string>>;

/// @returns the configuration, or all that is wrong with it, a line each.
[[nodiscard]] ConfigurationResult read_configuration(const config::Source& source);

/// The flags that say where a daemon's configuration comes from.
struct ConfigurationFlags {
  std::string file;  ///< empty: none
  std::optional<std::string> log_level;
  bool check{};
  bool print{};
};

/// Adds --config, --log-level, --check-config and --print-config.
void add_configuration(const Command& command, ConfigurationFlags& flags);

/// The file that the flags name (nothing, where none is named), with --log-level over it.
Result<config::Source> open_source(const ConfigurationFlags& flags);

/// The configuration in force as --print-config shows it: the reference, config/backplane.toml.
[[nodiscard]] std::string print_configuration(Configuration configuration);

/// Does what --check-config or --print-config asks for, on standard output. @returns whether one was given:
/// then there is nothing more to do.
[[nodiscard]] bool tell_configuration(const ConfigurationFlags& flags, const Configuration& configuration);

/// Sets the flag where it was given.
void set_flag(config::Source& source, std::string path, std::string flag,
              const std::optional<std::string>& value);

}  // namespace backplane::cli
