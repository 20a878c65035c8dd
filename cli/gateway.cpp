// backplane gateway: serves TCP clients.

#include "gateway/gateway.hpp"

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "cli/address_flags.hpp"
#include "cli/comma_list.hpp"
#include "cli/configuration.hpp"
#include "cli/console/messages.hpp"
#include "cli/gateway_flags.hpp"
#include "cli/subcommands.hpp"
#include "core/process/host.hpp"
#include "core/process/service_manager.hpp"
#include "core/process/signals.hpp"

namespace backplane::cli {
namespace {

struct Flags {
  ConfigurationFlags configuration;
  GatewayFlags gateway;
  std::optional<std::string> metrics;
  std::optional<std::string> policy;
  AddressFlags addresses;
};

/// BACKPLANE_BROKER comes before the file, as everywhere, and after the flags.
Result<void> set_brokers_of_environment(config::Source& source) {
  constexpr const char* variable = "BACKPLANE_BROKER";
  const char* const brokers = process_environment()(variable);
  if (brokers == nullptr) return {};
  if (*brokers == '\0') {
    return fail(ErrorCode::invalid_argument, fmt::format("{}: expected a value, got none", variable));
  }
  source.set_flag("gateway.brokers", variable, split_at_commas(brokers));
  return {};
}

/// Puts the addresses and keys in place of the file's. Errors in them name the flag.
Result<void> set_addresses(config::Source& source, const AddressFlags& flags) {
  if (!flags.key.empty()) source.set_flag("key", "--key", {flags.key});
  if (!flags.server_key.empty()) source.set_flag("server_key", "--server-key", {flags.server_key});
  // Contexts are for people. A daemon has its configuration.
  if (!flags.has_addresses()) return set_brokers_of_environment(source);
  const auto brokers = resolve_addresses(flags);
  if (!brokers) return tl::unexpected(brokers.error());
  const bool endpoints = flags.ingress || flags.egress || flags.control;
  if (!endpoints) {
    source.set_flag("gateway.brokers", "--broker", split_at_commas(flags.broker));
    return {};
  }
  // With an endpoint there is one broker, whose other endpoints are those of --broker, if that is given.
  source.set_flag("gateway.brokers", "--broker", {});
  const BrokerEndpoints& broker = brokers->front();
  const auto set = [&](std::string_view key, const std::optional<std::string>& given,
                       const std::string& value) {
    if (!given && flags.broker.empty()) return;  // the file decides
    const std::string flag = given ? fmt::format("--{}", key) : "--broker";
    set_flag(source, fmt::format("gateway.{}", key), flag, value);
  };
  set("ingress", flags.ingress, broker.ingress);
  set("egress", flags.egress, broker.egress);
  set("control", flags.control, broker.control);
  return {};
}

ExitCode run_gateway(const Flags& flags) {
  Result<config::Source> source = open_source(flags.configuration);
  if (!source) return print_error("gateway", source.error());
  if (const auto set = set_addresses(*source, flags.addresses); !set)
    return print_error("gateway", set.error());
  if (const auto set = set_gateway_flags(*source, flags.gateway); !set)
    return print_error("gateway", set.error());
  set_flag(*source, "gateway.metrics", "--metrics", flags.metrics);
  set_flag(*source, "policy", "--policy", flags.policy);
  ConfigurationResult configuration = read_configuration(*source);
  if (!configuration) return print_errors(configuration.error());
  // Printing needs no keys.
  Result<std::shared_ptr<const fanout::TlsContext>> tls;
  if (!flags.configuration.print) tls = gateway::read_tls(configuration->gateway);
  if (!tls) return print_error("gateway", tls.error());
  if (show_configuration(flags.configuration, *configuration)) {
    if (*tls != nullptr) print_tls_warnings("gateway", **tls);
    return ExitCode::done;
  }
  const auto keys = read_keys(*source, *configuration);
  if (!keys) return print_error("gateway", keys.error());
  configuration->gateway.keys = *keys;

  log::set_program("gateway");
  log::set_level(configuration->log_level);
  Signals signals;
  const ServiceManager manager = ServiceManager::from_environment();
  raise_open_files_limit();
  gateway::Gateway gateway(std::move(configuration->gateway), *tls, configuration->security.policy);
  return gateway.run(signals, manager);
}

}  // namespace

void add_gateway(const Command& program) {
  auto flags = std::make_shared<Flags>();
  const Command command = program.add_command(
      "gateway", "Run a gateway, which lets TCP clients (nc, curl, browsers, devices) subscribe and publish");
  add_configuration(command, flags->configuration);
  add_gateway_flags(command, flags->gateway);
  command.add_option("--metrics", flags->metrics, "Address of /metrics, /healthz and /readyz (default: off)")
      .value_name("HOST:PORT");
  command
      .add_option("--policy", flags->policy,
                  "File that says which users may publish and read which topics (default: everybody may do "
                  "everything)")
      .value_name("FILE");
  add_endpoint_flags(command, flags->addresses);
  command.set_footer(
      "Examples:\n"
      "  backplane gateway --broker host7,host8\n"
      "  backplane gateway --listen 127.0.0.1:1601 --listen '[::1]:1601' --broker 127.0.0.1\n"
      "  backplane gateway --broker host7 --key me.key --server-key broker.pub");
  command.set_run([flags] { return run_gateway(*flags); });
}

}  // namespace backplane::cli
