// backplane broker: one process that runs any number of named backplanes.

#include <memory>

#include <fmt/format.h>

#include "broker/server.hpp"
#include "cli/broker_flags.hpp"
#include "cli/configuration.hpp"
#include "cli/console/messages.hpp"
#include "cli/subcommands.hpp"
#include "core/log/line_writer.hpp"
#include "core/process/host.hpp"
#include "core/process/service_manager.hpp"
#include "core/process/signals.hpp"

namespace backplane::cli {
namespace {

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
  if (auto made = make_data_folder(flags); !made) return print_error("broker", made.error());
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
  add_broker_flags(command, *flags);
  command.set_footer(
      "Examples:\n"
      "  backplane broker --config backplane.toml\n"
      "  backplane broker --data /var/lib/backplane\n"
      "  backplane broker --log jetstream --jetstream nats://a:4222,nats://b:4222,nats://c:4222\n"
      "  backplane broker --log jetstream --jetstream nats://a:4222,nats://b:4222,nats://c:4222\n"
      "  backplane broker --policy policy.toml --key broker.key --ingress tcp://0.0.0.0:5570\n"
      "  backplane broker --ingress tcp://127.0.0.1:0 --egress tcp://127.0.0.1:0 --control "
      "tcp://127.0.0.1:0");
  command.set_run([flags] { return run_broker(*flags); });
  add_drain(command);
}

}  // namespace backplane::cli
