#include "cli/configuration.hpp"

#include <chrono>

#include <fmt/format.h>

#include "cli/console/messages.hpp"
#include "core/credentials/broker_keys.hpp"
#include "core/log/escape.hpp"

namespace backplane::cli {

void describe(config::Section& root, Configuration& configuration) {
  root.field(
      "insecure", configuration.insecure,
      "Whether listeners may be reachable from other machines, although clients are not authenticated.");
  root.field("key", configuration.key,
             "File with a secret key (NAME.key of `backplane keys new`), with which the gateway and `up` "
             "connect to a broker that requires keys.");
  root.field("server_key", configuration.server_key, "File with the broker's public key (NAME.pub).");
  configuration.gateway.credentials = {configuration.key, configuration.server_key};
  configuration.broker.insecure = configuration.insecure;
  configuration.gateway.insecure = configuration.insecure;
  root.table("log", "What is logged to standard error.", [&](config::Section& section) {
    using log::Level;
    section.choice("level", configuration.log_level,
                   {{"debug", Level::debug},
                    {"info", Level::info},
                    {"warning", Level::warning},
                    {"error", Level::error},
                    {"off", Level::off}},
                   "The least severe messages that are logged.");
  });
  broker::describe(root, configuration.broker);
  root.table("gateway", "The port for clients: nc, browsers and devices.",
             [&](config::Section& section) { gateway::describe(section, configuration.gateway); });
  root.tables("publish", configuration.publish,
              "A publisher that `backplane up` runs, in place of the demo publishers.",
              [](config::Section& section, PublishConfig& publish) {
                section.field("source", publish.source, "The SOURCE of `backplane publish SOURCE`.");
                section.field("arguments", publish.arguments, "The rest of that command line.");
                if (section.reading() && !section.given("source")) {
                  section.error("source", "expected the name of a source, got none");
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

Result<mq::SharedKeys> read_keys(const config::Source& source, const Configuration& configuration) {
  const std::string key = source.place("key").str();
  const std::string server_key = source.place("server_key").str();
  return read_broker_keys({.key = configuration.key, .server_key = configuration.server_key},
                          process_environment(), {.key = key.c_str(), .server_key = server_key.c_str()});
}

void add_configuration(const Command& command, ConfigurationFlags& flags) {
  command.add_option("--config", flags.file, "Configuration file (default: built-in defaults)")
      .value_name("FILE");
  add_insecure(command, flags.insecure);
  command
      .add_option("--log-level", flags.log_level,
                  "Least severe messages to log: debug, info, warning, error or off")
      .value_name("LEVEL");
  command.add_flag("--check-config", flags.check, "List every error in the configuration and exit");
  command.add_flag("--print-config", flags.print,
                   "Print the effective configuration with explanations and exit");
}

Result<config::Source> open_source(const ConfigurationFlags& flags) {
  Result<config::Source> source = flags.file.empty() ? config::Source() : config::Source::load(flags.file);
  // A file that cannot be read is an unusable configuration, whatever the reason.
  if (!source) return fail(ErrorCode::invalid_argument, source.error().text);
  set_flag(*source, "log.level", "--log-level", flags.log_level);
  if (flags.insecure) source->set_flag("insecure", "--insecure", {"true"});
  return source;
}

std::string print_configuration(Configuration configuration) {
  return "# Backplane's configuration: every key with its meaning and its values. A key that is left out has "
         "its\n"
         "# default. Sizes are numbers of bytes or \"64KiB\"; durations are \"250ms\", \"5s\" or \"10m\". An "
         "ENDPOINT "
         "is a\n"
         "# ZeroMQ endpoint (tcp://127.0.0.1:5570, ipc:///run/backplane/ingress); port 0 picks a free port.\n"
         "# `backplane config check FILE` lists every error in a file.\n\n" +
         config::print([&](config::Section& root) { describe(root, configuration); },
                       config::Comments::about);
}

bool show_configuration(const ConfigurationFlags& flags, const Configuration& configuration) {
  if (flags.print) {
    fmt::print("{}", print_configuration(configuration));
  } else if (flags.check) {
    fmt::print("{}: ok\n", flags.file.empty() ? "defaults" : log::escape(flags.file));
  }
  return flags.print || flags.check;
}

void print_tls_warnings(std::string_view command, const fanout::TlsContext& tls) {
  for (const std::string& line : tls.warnings(std::chrono::system_clock::now())) {
    print_message(command, "warning: " + line);
  }
}

void add_insecure(const Command& command, bool& value) {
  command.add_flag("--insecure", value,
                   "Permit listeners that other machines can reach, although clients are not authenticated");
}

void set_flag(config::Source& source, std::string path, std::string flag,
              const std::optional<std::string>& value) {
  if (value) source.set_flag(std::move(path), std::move(flag), {*value});
}

}  // namespace backplane::cli
