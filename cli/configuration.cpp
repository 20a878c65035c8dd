#include "cli/configuration.hpp"

#include <fmt/format.h>

#include "core/log/escape.hpp"

namespace backplane::cli {

void describe(config::Section& root, Configuration& configuration) {
  root.table("log", "What is written on standard error.", [&](config::Section& section) {
    using log::Level;
    section.choice("level", configuration.log_level,
                   {{"debug", Level::debug},
                    {"info", Level::info},
                    {"warning", Level::warning},
                    {"error", Level::error},
                    {"off", Level::off}},
                   "The least important lines that are written.");
  });
  broker::describe(root, configuration.broker);
  root.table("gateway", "Clients' way in: one port for nc, browsers and devices.",
             [&](config::Section& section) { gateway::describe(section, configuration.gateway); });
  root.tables("publish", configuration.publish,
              "A publisher that `backplane up` runs; with any, it runs no demo publishers.",
              [](config::Section& section, PublishConfig& publish) {
                section.field("source", publish.source, "As in `backplane publish SOURCE`.");
                section.field("arguments", publish.arguments, "The rest of that command line.");
                if (section.reading() && !section.given("source")) {
                  section.error("source", "wanted the name of a source, got none");
                }
              });
}

ConfigurationResult read_configuration(const config::Source& source) {
  Configuration configuration;
  std::vector<std::string> errors =
      config::read(source, [&](config::Section& root) { describe(root, configuration); });
  if (!errors.empty()) return tl::unexpected(std::move(errors));
  return configuration;
}

void add_configuration(const Command& command, ConfigurationFlags& flags) {
  command.add_option("--config", flags.file, "The configuration file; none: defaults").value_name("FILE");
  command.add_option("--log-level", flags.log_level, "debug, info, warning, error or off")
      .value_name("LEVEL");
  command.add_flag("--check-config", flags.check, "Tell what is wrong with the configuration, and end");
  command.add_flag("--print-config", flags.print, "Print the configuration in force, explained, and end");
}

Result<config::Source> open_source(const ConfigurationFlags& flags) {
  Result<config::Source> source = flags.file.empty() ? config::Source() : config::Source::load(flags.file);
  // What cannot be read is a configuration that cannot be used, whatever the reason.
  if (!source) return fail(ErrorCode::invalid_argument, source.error().text);
  set_flag(*source, "log.level", "--log-level", flags.log_level);
  return source;
}

std::string print_configuration(Configuration configuration) {
  return "# Backplane's configuration: every key, what it means and what it may be. What is not said keeps "
         "its\n"
         "# default. Sizes are numbers of bytes or \"64KiB\", durations \"250ms\", \"5s\" or \"10m\"; an "
         "ENDPOINT is\n"
         "# ZeroMQ's (tcp://127.0.0.1:5570, ipc:///run/backplane/ingress), with port 0 for a free one.\n"
         "# `backplane broker --check-config --config FILE` tells what is wrong with a file.\n\n" +
         config::print([&](config::Section& root) { describe(root, configuration); },
                       config::Comments::about);
}

bool tell_configuration(const ConfigurationFlags& flags, const Configuration& configuration) {
  if (flags.print) {
    fmt::print("{}", print_configuration(configuration));
  } else if (flags.check) {
    fmt::print("{}: ok\n", flags.file.empty() ? "without a file" : log::escape(flags.file));
  }
  return flags.print || flags.check;
}

void set_flag(config::Source& source, std::string path, std::string flag,
              const std::optional<std::string>& value) {
  if (value) source.set_flag(std::move(path), std::move(flag), {*value});
}

}  // namespace backplane::cli
