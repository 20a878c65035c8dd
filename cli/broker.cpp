// backplane broker: one process that hosts any number of named backplanes.

#include <cstdio>
#include <memory>

#include <fmt/format.h>

#include "broker/server.hpp"
#include "cli/configuration.hpp"
#include "cli/console/messages.hpp"
#include "cli/subcommands.hpp"
#include "core/process/host.hpp"
#include "core/process/signals.hpp"

namespace backplane::cli {
namespace {

struct BrokerFlags {
  ConfigurationFlags configuration;
  std::optional<std::string> name;
  std::optional<std::string> ingress;
  std::optional<std::string> egress;
  std::optional<std::string> control;
  std::optional<std::string> raw;
  std::optional<std::string> metrics;

  [[nodiscard]] bool has_endpoint() const { return ingress || egress || control || raw; }
};

/// Which [[backplane]] the flags speak of: the one called --name where the file has several, else the
/// only one. Nothing, where the flags don't say it.
Result<std::size_t> flags_table(const config::Source& source, const BrokerFlags& flags) {
  const std::size_t count = source.table_count("backplane");
  if (count <= 1 || (!flags.name && !flags.has_endpoint())) return 0;
  if (!flags.name) {
    return fail(
        ErrorCode::invalid_argument,
        fmt::format("wanted --name beside an endpoint, as {} has {} backplanes", source.file(), count));
  }
  const ConfigurationResult in_file = read_configuration(source);
  if (!in_file) return 0;  // the errors are told when it is read for good
  const auto& backplanes = in_file->broker.backplanes;
  for (std::size_t index = 0; index < backplanes.size(); ++index) {
    if (backplanes[index].name == *flags.name) return index;
  }
  return fail(
      ErrorCode::invalid_argument,
      fmt::format("--name: wanted one of the backplanes in {}, got \"{}\"", source.file(), *flags.name));
}

Result<config::Source> broker_source(const BrokerFlags& flags) {
  Result<config::Source> source = open_source(flags.configuration);
  if (!source) return source;
  const Result<std::size_t> index = flags_table(*source, flags);
  if (!index) return tl::unexpected(index.error());
  const auto set = [&](std::string_view key, const std::optional<std::string>& value) {
    set_flag(*source, fmt::format("backplane[{}].{}", *index, key), fmt::format("--{}", key), value);
  };
  set("name", flags.name);
  set("ingress", flags.ingress);
  set("egress", flags.egress);
  set("control", flags.control);
  set("raw", flags.raw);
  set_flag(*source, "metrics.listen", "--metrics", flags.metrics);
  return source;
}

/// For SIGHUP: the same flags over the file as it is now. `level` is the one in force.
Result<broker::BrokerConfig> read_again(const BrokerFlags& flags, log::Level& level) {
  const Result<config::Source> source = broker_source(flags);
  if (!source) return tl::unexpected(source.error());
  ConfigurationResult configuration = read_configuration(*source);
  if (!configuration) {
    return fail(ErrorCode::invalid_argument, fmt::format("{}", fmt::join(configuration.error(), "; ")));
  }
  if (configuration->log_level != level) {
    level = configuration->log_level;
    log::set_level(level);
    log::info("reload: [log].level is in force");
  }
  return std::move(configuration->broker);
}

ExitCode run_broker(const BrokerFlags& flags) {
  const Result<config::Source> source = broker_source(flags);
  if (!source) return print_error("broker", source.error());
  ConfigurationResult configuration = read_configuration(*source);
  if (!configuration) return print_errors(configuration.error());
  if (tell_configuration(flags.configuration, *configuration)) return ExitCode::done;

  log::set_program("broker");
  log::Level level = configuration->log_level;
  log::set_level(level);
  Signals signals;
  raise_open_files_limit();
  auto server = broker::Server::open(std::move(configuration->broker));
  if (!server) {
    print_message("broker", server.error().text);
    return ExitCode::failed;
  }
  for (const std::string& line : (*server)->ready_lines()) fmt::print("{}\n", line);
  std::fflush(stdout);
  return (*server)->run(signals, [&] { return read_again(flags, level); });
}

}  // namespace

void add_broker(const Command& program) {
  auto flags = std::make_shared<BrokerFlags>();
  const Command command =
      program.add_command("broker", "Take events in, number them, keep them, hand them out");
  add_configuration(command, flags->configuration);
  command.add_option("--name", flags->name, "The backplane's name; which one, where the file has several");
  const auto add = [&](const std::string& name, std::optional<std::string>& value, const std::string& about) {
    command.add_option(name, value, about).value_name("ENDPOINT");
  };
  add("--ingress", flags->ingress, "Where publishers connect, by default tcp://127.0.0.1:5570");
  add("--egress", flags->egress, "Where subscribers connect, by default tcp://127.0.0.1:5571");
  add("--control", flags->control, "Where requests are answered, by default tcp://127.0.0.1:5572");
  add("--raw", flags->raw, "Where PUBs without protobuf connect, by default tcp://127.0.0.1:5574, or off");
  command
      .add_option("--metrics", flags->metrics,
                  "/metrics, /healthz and /readyz, by default 127.0.0.1:9570, or off")
      .value_name("HOST:PORT");
  command.set_footer(
      "Example:\n"
      "  backplane broker --config backplane.toml\n"
      "  backplane broker --ingress tcp://127.0.0.1:0 --egress tcp://127.0.0.1:0 --control "
      "tcp://127.0.0.1:0");
  command.set_run([flags] { return run_broker(*flags); });
  add_drain(command);
}

}  // namespace backplane::cli
