// backplane gateway: TCP clients' way to a backplane.

#include "gateway/gateway.hpp"

#include <memory>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "cli/addresses.hpp"
#include "cli/command.hpp"
#include "cli/configuration.hpp"
#include "core/process/host.hpp"
#include "core/process/signals.hpp"

namespace backplane::cli {
namespace {

struct GatewayFlags {
  ConfigurationFlags configuration;
  std::vector<std::string> listen;
  AddressFlags addresses;
};

/// Puts the addresses over the file's, each under the flag that gave it.
Result<void> set_addresses(config::Source& source, const AddressFlags& flags) {
  if (!flags.given()) return {};
  const auto brokers = resolve(flags);
  if (!brokers) return tl::unexpected(brokers.error());
  if (brokers->size() > 1) {
    return fail(
        ErrorCode::invalid_argument,
        fmt::format("--broker: wanted one host, as a gateway follows one broker, got {}", brokers->size()));
  }
  const BrokerAddress& broker = brokers->front();
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

ExitCode run_gateway(const GatewayFlags& flags) {
  Result<config::Source> source = open_source(flags.configuration);
  if (!source) return complain("gateway", source.error());
  if (const auto set = set_addresses(*source, flags.addresses); !set) return complain("gateway", set.error());
  if (!flags.listen.empty()) source->set_flag("gateway.listen", "--listen", flags.listen);
  ConfigurationResult configuration = read_configuration(*source);
  if (!configuration) return complain(configuration.error());
  if (tell_configuration(flags.configuration, *configuration)) return ExitCode::done;

  log::set_program("gateway");
  log::set_level(configuration->log_level);
  Signals signals;
  raise_open_files_limit();
  gateway::Gateway gateway(std::move(configuration->gateway));
  return gateway.run(signals);
}

}  // namespace

Run add_gateway(CLI::App& program) {
  auto flags = std::make_shared<GatewayFlags>();
  CLI::App* app =
      program.add_subcommand("gateway", "Let TCP clients (nc, telnet, devices) subscribe and publish");
  add_configuration(*app, flags->configuration);
  app->add_option("--listen", flags->listen,
                  "Where clients connect, by default 127.0.0.1:1601; may be repeated")
      ->type_name("HOST:PORT")
      ->allow_extra_args(false);
  add_addresses(*app, flags->addresses);
  app->footer(
      "Example:\n"
      "  backplane gateway --listen 127.0.0.1:1601 --listen '[::1]:1601' --broker 127.0.0.1");
  return [flags] { return run_gateway(*flags); };
}

}  // namespace backplane::cli
