// backplane broker: one process that runs any number of named backplanes.

#include <filesystem>
#include <memory>

#include <fmt/format.h>

#include "broker/server.hpp"
#include "cli/configuration.hpp"
#include "cli/console/messages.hpp"
#include "cli/subcommands.hpp"
#include "core/log/line_writer.hpp"
#include "core/process/host.hpp"
#include "core/process/service_manager.hpp"
#include "core/process/signals.hpp"

namespace backplane::cli {
namespace {

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

  [[nodiscard]] bool is_about_one() const { return identity || ingress || egress || control || raw; }
};

/// The index of the [[backplane]] that the flags are about: the one called --name if the file has several,
/// else 0. An error if the flags do not say which.
Result<std::size_t> flags_table(const config::Source& source, const BrokerFlags& flags) {
  const std::size_t count = source.table_count("backplane");
  if (count <= 1 || (!flags.name && !flags.is_about_one())) return 0;
  if (!flags.name) {
    return fail(
        ErrorCode::invalid_argument,
        fmt::format("--name: expected one of the {} backplanes in {}, got none", count, source.file()));
  }
  const ConfigurationResult in_file = read_configuration(source);
  if (!in_file) return 0;  // the caller reads the file again and reports its errors
  const auto& backplanes = in_file->broker.backplanes;
  for (std::size_t index = 0; index < backplanes.size(); ++index) {
    if (backplanes[index].name == *flags.name) return index;
  }
  return fail(
      ErrorCode::invalid_argument,
      fmt::format("--name: expected one of the backplanes in {}, got \"{}\"", source.file(), *flags.name));
}

/// --data: every backplane of the file, or the only one, keeps its history below that folder.
void keep_history_in_files(config::Source& source, const BrokerFlags& flags) {
  if (flags.data.empty()) return;
  const ConfigurationResult known = read_configuration(source);
  if (!known) return;  // the caller reads it again and reports its errors
  const std::filesystem::path folder = std::filesystem::absolute(flags.data).lexically_normal();
  for (std::size_t index = 0; index < known->broker.backplanes.size(); ++index) {
    const std::string table = fmt::format("backplane[{}]", index);
    set_flag(source, table + ".store", "--data", "file");
    set_flag(source, table + ".store_path", "--data",
             (folder / known->broker.backplanes[index].name).string());
  }
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
  set("identity", flags.identity);
  set("ingress", flags.ingress);
  set("egress", flags.egress);
  set("control", flags.control);
  set("raw", flags.raw);
  set_flag(*source, "metrics.listen", "--metrics", flags.metrics);
  keep_history_in_files(*source, flags);
  return source;
}

/// The configuration after SIGHUP: the same flags, and the file as it is now. `level` is the active log
/// level.
Result<broker::BrokerConfig> reload(const BrokerFlags& flags, log::Level& level) {
  const Result<config::Source> source = broker_source(flags);
  if (!source) return tl::unexpected(source.error());
  ConfigurationResult configuration = read_configuration(*source);
  if (!configuration) {
    return fail(ErrorCode::invalid_argument, fmt::format("{}", fmt::join(configuration.error(), "; ")));
  }
  if (auto good = broker::check_admission(configuration->security); !good)
    return tl::unexpected(good.error());
  if (configuration->log_level != level) {
    level = configuration->log_level;
    log::set_level(level);
    log::info("reload: applied [log].level");
  }
  return std::move(configuration->broker);
}

ExitCode run_broker(const BrokerFlags& flags) {
  const Result<config::Source> source = broker_source(flags);
  if (!source) return print_error("broker", source.error());
  ConfigurationResult configuration = read_configuration(*source);
  if (!configuration) return print_errors(configuration.error());
  if (auto good = broker::check_admission(configuration->security); !good)
    return print_errors({good.error().text});
  if (show_configuration(flags.configuration, *configuration)) return ExitCode::done;

  log::set_program("broker");
  log::Level level = configuration->log_level;
  log::set_level(level);
  Signals signals;
  const ServiceManager manager = ServiceManager::from_environment();
  raise_open_files_limit();
  if (!flags.data.empty()) {
    std::error_code error;
    std::filesystem::create_directories(flags.data, error);
    if (error) {
      print_message("broker", fmt::format("--data: cannot create \"{}\": {}", flags.data, error.message()));
      return ExitCode::usage;
    }
  }
  auto server = broker::Server::open(std::move(configuration->broker));
  if (!server) return print_error("broker", server.error());
  for (const std::string& line : (*server)->ready_lines()) log::standard_output().write(line + '\n');
  return (*server)->run(
      signals, [&] { return reload(flags, level); }, manager);
}

}  // namespace

void add_broker(const Command& program) {
  auto flags = std::make_shared<BrokerFlags>();
  const Command command =
      program.add_command("broker", "Run a broker, which receives, numbers, stores and delivers events");
  add_configuration(command, flags->configuration);
  add_security(command, flags->configuration);
  command.add_option("--name", flags->name, "Name of the backplane; selects one if the file has several");
  command
      .add_option(
          "--identity", flags->identity,
          "What readers recognise this broker by when it comes back without its history (default: the "
          "host's name and the ingress endpoint)")
      .value_name("TEXT");
  const auto add = [&](const std::string& name, std::optional<std::string>& value, const std::string& about) {
    command.add_option(name, value, about).value_name("ENDPOINT");
  };
  add("--ingress", flags->ingress, "Endpoint for publishers (default: tcp://localhost:5570)");
  add("--egress", flags->egress, "Endpoint for subscribers (default: tcp://localhost:5571)");
  add("--control", flags->control, "Endpoint for requests (default: tcp://localhost:5572)");
  add("--raw", flags->raw,
      "Endpoint for PUB sockets that send raw bytes, or off (default: tcp://localhost:5574)");
  command
      .add_option("--metrics", flags->metrics,
                  "Address of /metrics, /healthz and /readyz, or off (default: localhost:9570)")
      .value_name("HOST:PORT");
  command.add_option("--data", flags->data, "Keep history in files below DIR, in a folder per backplane")
      .value_name("DIR");
  command.set_footer(
      "Examples:\n"
      "  backplane broker --config backplane.toml\n"
      "  backplane broker --data /var/lib/backplane\n"
      "  backplane broker --policy policy.toml --key broker.key --ingress tcp://0.0.0.0:5570\n"
      "  backplane broker --ingress tcp://127.0.0.1:0 --egress tcp://127.0.0.1:0 --control "
      "tcp://127.0.0.1:0");
  command.set_run([flags] { return run_broker(*flags); });
  add_drain(command);
}

}  // namespace backplane::cli
