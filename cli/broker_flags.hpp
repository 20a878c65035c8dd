#pragma once
// The options of the commands that run a broker.

#include <optional>
#include <string>

#include "cli/command_line.hpp"
#include "cli/configuration.hpp"
#include "core/config/source.hpp"
#include "core/error/error.hpp"

namespace backplane::cli {

/// The values of these options. Must live as long as the CommandLine.
struct BrokerFlags {
  ConfigurationFlags configuration;
  std::optional<std::string> name;
  std::optional<std::string> identity;
  std::optional<std::string> ingress;
  std::optional<std::string> egress;
  std::optional<std::string> control;
  std::optional<std::string> raw;
  std::optional<std::string> metrics;
  std::string data;
  std::optional<std::string> log;
  std::optional<std::string> jetstream;

  /// Whether they are about one backplane of those in the file.
  [[nodiscard]] bool is_about_one() const {
    return identity || ingress || egress || control || raw || log || jetstream;
  }
};

/// Adds those of add_configuration() and add_security(), and --name, --identity, the endpoints, --metrics,
/// --data, --log and --jetstream.
void add_broker_flags(const Command& command, BrokerFlags& flags);

/// The file that the flags name, with their values in place of its. An error if the flags do not say which
/// backplane of the file they are about.
Result<config::Source> broker_source(const BrokerFlags& flags);

/// Creates the folder of --data, if that is given.
Result<void> make_data_folder(const BrokerFlags& flags);

}  // namespace backplane::cli
