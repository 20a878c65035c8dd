#include "cli/configuration.hpp"

#include <chrono>

#include <fmt/format.h>

#include "cli/console/messages.hpp"
#include "core/config/reference.hpp"
#include "core/credentials/broker_keys.hpp"
#include "core/credentials/key_file.hpp"
#include "core/log/escape.hpp"

namespace backplane::cli {
namespace {

constexpr const char* config_variable = "BACKPLANE_CONFIG";

/// Reads the files as well: a configuration is good only if they are.
void describe_security(config::Section& root, broker::Admission& security) {
  root.field(
      "policy", security.policy_file,
      "File with the users, and what each may do (docs/security.md). \"\": everybody may do everything. "
      "SIGHUP reads it again. A relative path is relative to the working directory.");
  root.field(
      "key", security.key_file,
      "File with a secret key (`backplane keys new`): the broker's, or the one by which another program "
      "connects to a broker. \"\": none.");
  if (!root.reading()) return;
  security.policy_place = root.place("policy").str();
  security.key_place = root.place("key").str();
  if (!security.policy_file.empty()) {
    auto policy = policy::Policy::load(security.policy_file);
    if (policy) security.policy = std::make_shared<const policy::Policy>(std::move(*policy));
    for (const std::string& error : policy ? std::vector<std::string>() : policy.error()) {
      root.error("policy", error);
    }
  }
  if (!security.key_file.empty()) {
    auto key = read_secret_key(security.key_file);
    if (key) security.key.emplace(*key);
    if (!key) root.error("key", key.error().text);
  }
}

}  // namespace

void describe(config::Section& root, Configuration& configuration) {
  root.field(
      "insecure", configuration.insecure,
      "Whether listeners may be reachable from other machines, although clients are not authenticated.");
  describe_security(root, configuration.security);
  configuration.broker.admission = configuration.security;
  root.field("server_key", configuration.server_key,
             "File with the broker's public key (NAME.pub), for programs that connect to a broker.");
  configuration.gateway.credentials = {configuration.security.key_file, configuration.server_key};
  configuration.broker.insecure = configuration.insecure;
  configuration.gateway.insecure = configuration.insecure;
  configuration.gateway.policy = configuration.security.policy_file;
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
  root.table("link", "What `backplane link` passes from one backplane to another.",
             [&](config::Section& section) { links::describe(section, configuration.link); });
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
  return read_broker_keys({.key = configuration.security.key_file, .server_key = configuration.server_key},
                          process_environment(), {.key = key.c_str(), .server_key = server_key.c_str()});
}

void add_configuration(const Command& command, ConfigurationFlags& flags) {
  add_config_file(command, flags);
  add_insecure(command, flags.insecure);
  command
      .add_option("--log-level", flags.log_level,
                  "Least severe messages to log: debug, info, warning, error or off")
      .value_name("LEVEL");
  command.add_flag("--check-config", flags.check, "List every error in the configuration and exit");
  command.add_flag("--print-config", flags.print,
                   "Print the effective configuration with explanations and exit");
}

void add_config_file(const Command& command, ConfigurationFlags& flags) {
  command
      .add_option("-c,--config", flags.file,
                  "Configuration file (default: $BACKPLANE_CONFIG, or built-in defaults)")
      .value_name("FILE");
}

std::string configuration_file(const ConfigurationFlags& flags, const Environment& environment) {
  if (!flags.file.empty()) return flags.file;
  const char* const variable = environment(config_variable);
  return variable == nullptr ? "" : variable;
}

Result<config::Source> open_source(const ConfigurationFlags& flags) {
  const Environment environment = process_environment();
  const std::string file = configuration_file(flags, environment);
  if (file.empty() && environment(config_variable) != nullptr) {
    return fail(ErrorCode::invalid_argument, fmt::format("{}: expected a value, got none", config_variable));
  }
  Result<config::Source> source = file.empty() ? config::Source() : config::Source::load(file);
  // A file that cannot be read is an unusable configuration, whatever the reason.
  if (!source) return fail(ErrorCode::invalid_argument, source.error().text);
  set_flag(*source, "log.level", "--log-level", flags.log_level);
  if (flags.insecure) source->set_flag("insecure", "--insecure", {"true"});
  set_flag(*source, "policy", "--policy", flags.policy);
  set_flag(*source, "key", "--key", flags.key);
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

std::string print_settings_page() {
  Configuration defaults;
  return "# Settings\n\n"
         "Every key of the configuration file: its default, its values and its meaning. This page is what\n"
         "`backplane config reference` prints, and a test compares them.\n\n"
         "`backplane broker`, `gateway`, `serve`, `link` and `up` read the file of `--config FILE`, or else "
         "of "
         "`BACKPLANE_CONFIG`.\n"
         "Each uses its own tables, and reports the errors in all of them; an unknown key is an error. "
         "`backplane config check FILE`\n"
         "lists all errors by line, and `backplane config print` prints a file with all defaults "
         "([`config/backplane.toml`](../config/backplane.toml)).\n"
         "Options of the command line take precedence over the file. "
         "[operations.md](operations.md#signals-and-"
         "exit-codes) says which\n"
         "settings a running broker reads again at SIGHUP.\n\n"
         "Sizes are numbers of bytes or `\"64KiB\"`; durations are `\"250ms\"`, `\"5s\"` or `\"10m\"`. A key "
         "in "
         "a table is written below\n"
         "its heading; `[[…]]` can be repeated. Keys of the first table stand at the top of the file, before "
         "all "
         "headings.\n" +
         config::print_reference([&](config::Section& root) { describe(root, defaults); });
}

bool show_configuration(const ConfigurationFlags& flags, const Configuration& configuration) {
  if (flags.print) {
    fmt::print("{}", print_configuration(configuration));
  } else if (flags.check) {
    const std::string file = configuration_file(flags, process_environment());
    fmt::print("{}: ok\n", file.empty() ? "defaults" : log::escape(file));
  }
  return flags.print || flags.check;
}

void print_tls_warnings(std::string_view command, const fanout::TlsContext& tls) {
  for (const std::string& line : tls.warnings(std::chrono::system_clock::now())) {
    print_message(command, "warning: " + line);
  }
}

void add_security(const Command& command, ConfigurationFlags& flags) {
  command
      .add_option("--policy", flags.policy,
                  "File with the users, and what each may do (docs/security.md); requires --key")
      .value_name("FILE");
  command.add_option("--key", flags.key, "File with the broker's secret key, made by `backplane keys new`")
      .value_name("FILE");
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
