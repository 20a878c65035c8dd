// backplane link: passes events from one backplane to another.

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "cli/comma_list.hpp"
#include "cli/configuration.hpp"
#include "cli/console/messages.hpp"
#include "cli/subcommands.hpp"
#include "core/credentials/broker_keys.hpp"
#include "core/net/broker_address.hpp"
#include "core/process/host.hpp"
#include "core/process/signals.hpp"
#include "follower/control/since.hpp"
#include "links/config.hpp"
#include "links/service.hpp"

namespace backplane::cli {
namespace {

struct LinkFlags {
  ConfigurationFlags configuration;
  std::vector<std::string> patterns;
  std::string from;
  std::string to;
  std::optional<std::string> from_control;
  std::optional<std::string> to_ingress;
  std::optional<std::string> to_control;
  std::optional<std::string> under;
  std::optional<std::string> name;
  std::optional<std::string> state;
  std::optional<std::string> since;
  std::optional<std::string> hops;
  std::optional<std::string> poll;
  std::optional<std::string> metrics;
  std::optional<std::string> key;
  std::optional<std::string> server_key;
  std::optional<std::string> from_key;
  std::optional<std::string> from_server_key;
  std::optional<std::string> to_key;
  std::optional<std::string> to_server_key;
};

tl::unexpected<Error> wrong(std::string text) {
  return fail(ErrorCode::invalid_argument, std::move(text));
}

void set_flags(config::Source& source, const LinkFlags& flags) {
  if (!flags.patterns.empty()) source.set_flag("link.patterns", "PATTERN", flags.patterns);
  if (!flags.from.empty()) source.set_flag("link.from", "--from", split_at_commas(flags.from));
  if (!flags.to.empty()) source.set_flag("link.to", "--to", split_at_commas(flags.to));
  set_flag(source, "link.from_control", "--from-control", flags.from_control);
  set_flag(source, "link.to_ingress", "--to-ingress", flags.to_ingress);
  set_flag(source, "link.to_control", "--to-control", flags.to_control);
  set_flag(source, "link.under", "--under", flags.under);
  set_flag(source, "link.name", "--name", flags.name);
  set_flag(source, "link.state", "--state", flags.state);
  set_flag(source, "link.since", "--since", flags.since);
  set_flag(source, "link.hops", "--hops", flags.hops);
  set_flag(source, "link.poll", "--poll", flags.poll);
  set_flag(source, "link.metrics", "--metrics", flags.metrics);
  set_flag(source, "key", "--key", flags.key);
  set_flag(source, "server_key", "--server-key", flags.server_key);
  set_flag(source, "link.from_key", "--from-key", flags.from_key);
  set_flag(source, "link.from_server_key", "--from-server-key", flags.from_server_key);
  set_flag(source, "link.to_key", "--to-key", flags.to_key);
  set_flag(source, "link.to_server_key", "--to-server-key", flags.to_server_key);
}

/// One side of the link: what the configuration says of it, and how errors call that.
struct Side {
  std::string_view name;  // "from" or "to"
  const std::vector<std::string>& hosts;
  std::string_view ingress;
  std::string_view control;
  const std::string& key;
  const std::string& server_key;
};

Result<std::vector<BrokerEndpoints>> endpoints(const Side& side) {
  std::vector<BrokerEndpoints> brokers;
  for (const std::string& each : side.hosts) {
    const auto broker = parse_broker_address(each, side.name);
    if (!broker) return tl::unexpected(broker.error());
    brokers.push_back({broker->ingress(), broker->egress(), broker->control()});
  }
  const bool has_endpoint = !side.ingress.empty() || !side.control.empty();
  if (has_endpoint && brokers.size() > 1) {
    return wrong(fmt::format("--{}-control and the like: expected a single host in --{}, got {}", side.name,
                             side.name, brokers.size()));
  }
  const bool is_whole = !side.control.empty() && (side.name == "from" || !side.ingress.empty());
  if (brokers.empty() && !is_whole) return wrong(fmt::format("--{}: expected a host, got none", side.name));
  if (brokers.empty()) brokers.emplace_back();
  if (!side.ingress.empty()) brokers.front().ingress = side.ingress;
  if (!side.control.empty()) brokers.front().control = side.control;
  return brokers;
}

Result<std::vector<BrokerEndpoints>> brokers_of(const config::Source& source,
                                                const Configuration& configuration, const Side& side) {
  auto brokers = endpoints(side);
  if (!brokers) return brokers;
  const auto place = [&](const std::string& own, std::string_view own_key, std::string_view common_key) {
    return source.place(own.empty() ? std::string(common_key) : fmt::format("link.{}_{}", side.name, own_key))
        .str();
  };
  const std::string key_place = place(side.key, "key", "key");
  const std::string server_key_place = place(side.server_key, "server_key", "server_key");
  const auto keys = read_broker_keys(
      {.key = side.key.empty() ? configuration.security.key_file : side.key,
       .server_key = side.server_key.empty() ? configuration.server_key : side.server_key},
      process_environment(), {.key = key_place.c_str(), .server_key = server_key_place.c_str()});
  if (!keys) return tl::unexpected(keys.error());
  for (BrokerEndpoints& each : *brokers) each.keys = *keys;
  return brokers;
}

/// The names of a link that is given none. They change with what is passed on, so that two links do not have
/// the same, and with the key, as those of all programs (default_name()): links of several users often pass
/// on the same topics. The host is not part of them: a link may continue on another machine.
std::string base_name(const links::LinkConfig& link) {
  std::uint64_t hash = 14'695'981'039'346'656'037U;  // FNV-1a
  const auto add = [&](std::string_view bytes) {
    for (const char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * 1'099'511'628'211U;
    hash = (hash ^ 0xffU) * 1'099'511'628'211U;
  };
  for (const std::string& pattern : link.patterns) add(pattern);
  add(link.under);
  return fmt::format("link-{:08x}", static_cast<std::uint32_t>(hash >> 32));
}

Result<links::ServiceOptions> service_options(const config::Source& source,
                                              const Configuration& configuration) {
  const links::LinkConfig& link = configuration.link;
  links::ServiceOptions options;
  if (link.patterns.empty()) return wrong("PATTERN: expected at least one, got none");
  auto from = brokers_of(source, configuration,
                         {"from", link.from, {}, link.from_control, link.from_key, link.from_server_key});
  if (!from) return tl::unexpected(from.error());
  auto to = brokers_of(source, configuration,
                       {"to", link.to, link.to_ingress, link.to_control, link.to_key, link.to_server_key});
  if (!to) return tl::unexpected(to.error());
  for (const BrokerEndpoints& each : *to) {
    for (const BrokerEndpoints& other : *from) {
      if (each.control == other.control)
        return wrong(fmt::format("--to: expected other brokers than in --from, got {}", each.control));
    }
  }
  // The state outlives a key.
  options.state_name = link.name.empty() ? base_name(link) : link.name;
  const auto name_at = [&](const BrokerEndpoints& broker) {
    return link.name.empty() ? options.state_name + key_suffix(broker.keys) : link.name;
  };
  options.link.name = name_at(to->front());
  options.link.reader = name_at(from->front());
  options.from = std::move(*from);
  options.to = std::move(*to);
  options.link.patterns = link.patterns;
  options.link.under = link.under;
  options.link.hops_max = link.hops;
  options.link.poll_max = link.poll;
  if (!link.since.empty()) {
    const auto since = parse_since(link.since);
    if (!since) return tl::unexpected(since.error());
    options.link.since = *since;
  }
  options.state = link.state;
  options.metrics = link.metrics;
  return options;
}

ExitCode run_link(const LinkFlags& flags) {
  Result<config::Source> source = open_source(flags.configuration);
  if (!source) return print_error("link", source.error());
  set_flags(*source, flags);
  const ConfigurationResult configuration = read_configuration(*source);
  if (!configuration) return print_errors(configuration.error());
  if (flags.configuration.print) {
    (void)show_configuration(flags.configuration, *configuration);
    return ExitCode::done;
  }
  const auto options = service_options(*source, *configuration);
  if (!options) return print_error("link", options.error());
  if (show_configuration(flags.configuration, *configuration)) return ExitCode::done;
  log::set_program("link");
  log::set_level(configuration->log_level);
  Signals signals;
  raise_open_files_limit();
  return links::run_links(*options, signals);
}

void add_sides(const Command& command, LinkFlags& flags) {
  const std::string group = "The two sides";
  const auto add = [&](const std::string& name, auto& value, const std::string& about,
                       const std::string& value_name) {
    command.add_option(name, value, about).value_name(value_name).group(group);
  };
  add("--from", flags.from, "Hosts of the brokers whose events are passed on; all of them are read",
      "HOST[,HOST...]");
  add("--to", flags.to, "Hosts of the brokers at which they are published: the first that works",
      "HOST[,HOST...]");
  add("--from-control", flags.from_control, "Endpoint for requests of a single broker (default: port 5572)",
      "ENDPOINT");
  add("--to-ingress", flags.to_ingress, "Endpoint for publishers of a single broker (default: port 5570)",
      "ENDPOINT");
  add("--to-control", flags.to_control, "Endpoint for requests of a single broker (default: port 5572)",
      "ENDPOINT");
  const std::string keys = "Keys, for brokers that require them (backplane keys new)";
  const auto add_key = [&](const std::string& name, std::optional<std::string>& value,
                           const std::string& about, const std::string& value_name) {
    command.add_option(name, value, about).value_name(value_name).group(keys);
  };
  add_key("--key", flags.key, "Secret key for both sides (default: $BACKPLANE_KEY_FILE)", "NAME.key");
  add_key("--server-key", flags.server_key,
          "Public key of the brokers of both sides (default: $BACKPLANE_SERVER_KEY_FILE)", "NAME.pub");
  add_key("--from-key", flags.from_key, "Secret key for the brokers in --from", "NAME.key");
  add_key("--from-server-key", flags.from_server_key, "Public key of the brokers in --from", "NAME.pub");
  add_key("--to-key", flags.to_key, "Secret key for the brokers in --to", "NAME.key");
  add_key("--to-server-key", flags.to_server_key, "Public key of the brokers in --to", "NAME.pub");
}

}  // namespace

void add_link(const Command& program) {
  auto flags = std::make_shared<LinkFlags>();
  const Command command =
      program.add_command("link", "Pass events from one backplane to another, without loss or duplicates");
  command.add_option("PATTERN", flags->patterns, "Topics to pass on").value_name("");
  command.add_option("--under", flags->under, "Publish on TOPIC.<original topic>").value_name("TOPIC");
  command
      .add_option("--name", flags->name,
                  "Name of this link towards the brokers (default: link- and 8 digits made of PATTERN and "
                  "--under; with keys, and 8 of the key)")
      .value_name("NAME");
  command
      .add_option("--state", flags->state,
                  "Folder in which the link remembers how far it has come (default: only the target knows)")
      .value_name("DIR");
  command
      .add_option("--since", flags->since,
                  "Begin with the events of this period (default: everything that history has); only if "
                  "nothing has been passed on before")
      .value_name("10m");
  command
      .add_option("--hops", flags->hops,
                  "Links that an event may pass; 1: only events published at --from itself (default: 64)")
      .value_name("N");
  command
      .add_option("--poll", flags->poll,
                  "Longest interval between two requests to an idle source (default: 50ms)")
      .value_name("DURATION");
  command.add_option("--metrics", flags->metrics, "Address of /metrics, /healthz and /readyz (default: off)")
      .value_name("HOST:PORT");
  command.add_option("--config", flags->configuration.file, "Configuration file (default: built-in defaults)")
      .value_name("FILE");
  command
      .add_option("--log-level", flags->configuration.log_level,
                  "Least severe messages to log: debug, info, warning, error or off")
      .value_name("LEVEL");
  command.add_flag("--check-config", flags->configuration.check,
                   "List every error in the configuration and exit");
  command.add_flag("--print-config", flags->configuration.print,
                   "Print the effective configuration with explanations and exit");
  add_sides(command, *flags);
  command.set_footer(
      "Examples:\n"
      "  backplane link --from edge7 --to h1,h2 'sensor.>' --under site7\n"
      "  backplane link --from central --to edge7 'config.>' 'price.*'    several patterns\n"
      "  backplane link --from edge7 --to h1 '>' --state /var/lib/backplane --metrics localhost:9572\n"
      "  backplane link --config /etc/backplane/backplane.toml            its table [link]");
  command.set_run([flags] { return run_link(*flags); });
}

}  // namespace backplane::cli
