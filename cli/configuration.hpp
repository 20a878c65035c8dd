#pragma once
// The configuration file, with the tables of all programs. Every program reads the whole file, and therefore
// reports every error in it.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "broker/config.hpp"
#include "cli/command_line.hpp"
#include "core/config/section.hpp"
#include "core/config/source.hpp"
#include "core/credentials/given_credentials.hpp"
#include "core/log/log.hpp"
#include "core/zmq/client_keys.hpp"
#include "gateway/config/config.hpp"
#include "links/config.hpp"

namespace backplane::cli {

/// One publisher that `up` runs: `[[publish]]`.
struct PublishConfig {
  std::string source;                  ///< the SOURCE of `backplane publish SOURCE`
  std::vector<std::string> arguments;  ///< the rest of that command line
};

struct Configuration {
  bool insecure{};             ///< see BrokerConfig and GatewayConfig
  broker::Admission security;  ///< the files of `policy` and `key`, as they are now
  std::string server_key;      ///< a file: the brokers' public key
  log::Level log_level = log::Level::info;
  broker::BrokerConfig broker;
  gateway::GatewayConfig gateway;
  links::LinkConfig link;
  std::vector<PublishConfig> publish;
};

/// Describes every key of the file: for reading, for printing and for the reference.
void describe(config::Section& root, Configuration& configuration);

using ConfigurationResult = tl::expected<Configuration, std::vector<std::string>>;

/// @returns the configuration, or every error in it, one line each.
[[nodiscard]] ConfigurationResult read_configuration(const config::Source& source);

/// The options of a daemon that concern its configuration.
struct ConfigurationFlags {
  std::string file;  ///< empty if not given
  std::optional<std::string> log_level;
  bool check{};
  bool print{};
  bool insecure{};
  std::optional<std::string> policy{};
  std::optional<std::string> key{};
};

/// Adds --config.
void add_config_file(const Command& command, ConfigurationFlags& flags);

/// Adds --config, --insecure, --log-level, --check-config and --print-config.
void add_configuration(const Command& command, ConfigurationFlags& flags);

/// The file that the flags name, else BACKPLANE_CONFIG; empty: neither.
[[nodiscard]] std::string configuration_file(const ConfigurationFlags& flags, const Environment& environment);

/// That file, with --log-level and --insecure in place of its values. Without a file, it has only these.
Result<config::Source> open_source(const ConfigurationFlags& flags);

/// The effective configuration as --print-config shows it. That of the defaults is the reference,
/// config/backplane.toml.
[[nodiscard]] std::string print_configuration(Configuration configuration);

/// Every key of the file as a page: docs/settings.md.
[[nodiscard]] std::string print_settings_page();

/// Writes the result of --check-config or --print-config to standard output. @returns whether one of them was
/// given: then the command is done.
[[nodiscard]] bool show_configuration(const ConfigurationFlags& flags, const Configuration& configuration);

/// Writes a line to standard error for each certificate that is not valid, or soon not valid any longer.
void print_tls_warnings(std::string_view command, const fanout::TlsContext& tls);

/// Reads `key` and `server_key`, the keys with which a gateway or `up` connects to brokers; nullptr: there
/// are none. Errors name the key of the file, or the flag.
[[nodiscard]] Result<mq::SharedKeys> read_keys(const config::Source& source,
                                               const Configuration& configuration);

/// Adds --policy and --key to a command that starts listeners.
void add_security(const Command& command, ConfigurationFlags& flags);

/// Adds --insecure to a command that starts listeners.
void add_insecure(const Command& command, bool& value);

/// Puts a flag's value in place of the key's, if the flag was given.
void set_flag(config::Source& source, std::string path, std::string flag,
              const std::optional<std::string>& value);

}  // namespace backplane::cli
