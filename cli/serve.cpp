// backplane serve: a broker and a gateway in one process.
//
//   the main thread     reads signals and the configuration, and decides the order of the end
//   broker::Server      each backplane's loop, on a thread of its own
//   gateway::Gateway    its upstream thread, which this file starts, and its workers
//
// Broker and gateway are those of `backplane broker` and `backplane gateway`, and know nothing of each other.
// They meet in endpoints that only this process can reach: see broker::LocalEndpoints.

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <poll.h>

#include "broker/server.hpp"
#include "cli/broker_flags.hpp"
#include "cli/configuration.hpp"
#include "cli/console/messages.hpp"
#include "cli/gateway_flags.hpp"
#include "cli/serve_configuration.hpp"
#include "cli/subcommands.hpp"
#include "core/error/error.hpp"
#include "core/log/line_writer.hpp"
#include "core/log/log.hpp"
#include "core/process/host.hpp"
#include "core/process/service_manager.hpp"
#include "core/process/signals.hpp"
#include "core/process/wake_fd.hpp"
#include "gateway/gateway.hpp"

namespace backplane::cli {
namespace {

using namespace std::chrono_literals;

// How long the ready line waits for the gateway to have its broker, which takes some milliseconds.
constexpr auto connect_limit = 5s;

struct ServeFlags {
  BrokerFlags broker;
  GatewayFlags gateway;
};

/// A configuration that can be run, and the files that it names.
struct Loaded {
  Configuration given;    ///< as in the file and the flags
  Configuration process;  ///< as make_one_process() makes it
  std::shared_ptr<const fanout::TlsContext> tls;
};
using LoadResult = tl::expected<Loaded, std::vector<std::string>>;

Result<config::Source> serve_source(const ServeFlags& flags) {
  Result<config::Source> source = broker_source(flags.broker);
  if (!source) return source;
  if (auto set = set_gateway_flags(*source, flags.gateway); !set) return tl::unexpected(set.error());
  return source;
}

LoadResult load(const ServeFlags& flags, const config::Source& source) {
  const auto fail_with = [](const Error& error) { return tl::unexpected(std::vector{error.text}); };
  ConfigurationResult configuration = read_configuration(source);
  if (!configuration) return tl::unexpected(std::move(configuration.error()));
  if (auto good = broker::check_admission(configuration->security); !good) return fail_with(good.error());
  Loaded loaded{*configuration, *std::move(configuration), nullptr};
  if (auto errors = make_one_process(source, loaded.process); !errors.empty()) {
    return tl::unexpected(std::move(errors));
  }
  if (flags.broker.configuration.print) return loaded;  // printing needs no keys
  auto tls = gateway::read_tls(loaded.process.gateway);
  if (!tls) return fail_with(tls.error());
  loaded.tls = *std::move(tls);
  return loaded;
}

/// How the files that the process may open are divided. Clients of the gateway may use all but the last of
/// those that ZeroMQ's connections may use: neither can lock the other out at the start, nor clients
/// publishers.
struct Files {
  explicit Files(std::uint64_t limit)
      : gateway_own(std::clamp<std::size_t>(limit / 16, 8, 64)),
        zeromq_own(std::clamp<std::size_t>(limit / 8, 8, 1024)) {}
  std::size_t gateway_own;  ///< what it opens while it runs
  std::size_t zeromq_own;   ///< connections, besides those that come before the gateway's clients
};

/// Connects each backplane of the gateway with the loop of the same name.
void connect(gateway::GatewayConfig& config, const std::vector<broker::Server::Bound>& loops) {
  const auto connect_one = [&](gateway::BackplaneConfig& backplane) {
    const auto found = std::ranges::find(loops, backplane.name, &broker::Server::Bound::name);
    CHECK(found != loops.end(), "make_one_process() leaves no backplane without a loop");
    const broker::LocalEndpoints& local = found->local;
    backplane.local = {local.context, {local.ingress, local.egress, local.control}};
  };
  connect_one(config.first);
  for (gateway::BackplaneConfig& each : config.others) connect_one(each);
}

/// The broker and the gateway while they run. Lives on the main thread.
class Process {
 public:
  /// Binds everything. Throws as Gateway's constructor does.
  static Result<std::unique_ptr<Process>> open(const Loaded& loaded);
  ~Process() { end(); }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  /// Serves until a stop signal, or until a client requests the drain of a backplane. Blocks. `manager` is
  /// notified of each step, and hears nothing while a loop or the gateway's upstream thread is stuck.
  ExitCode run(Signals& signals, const ServeFlags& flags, const ServiceManager& manager);

 private:
  Process(std::unique_ptr<broker::Server> broker, const Loaded& loaded, gateway::GatewayConfig config)
      : broker_(std::move(broker)),
        level_(loaded.process.log_level),
        has_tls_(loaded.tls != nullptr),
        gateway_(std::move(config), loaded.tls, loaded.process.security.policy) {}

  void print_ready() const;
  void serve_clients() noexcept;
  void reload(const ServeFlags& flags);
  ExitCode end();

  const std::unique_ptr<broker::Server> broker_;  // outlives the gateway, whose pages show it
  log::Level level_;
  const bool has_tls_;
  std::vector<std::string> served_;  // the gateway's backplanes
  gateway::Gateway gateway_;
  WakeFd gateway_ended_;
  std::atomic<bool> gateway_failed_{};
  std::thread gateway_thread_;
};

Result<std::unique_ptr<Process>> Process::open(const Loaded& loaded) {
  const Files files(raise_open_files_limit());
  auto broker = broker::Server::open(loaded.process.broker, files.gateway_own);
  if (!broker) return tl::unexpected(broker.error());
  gateway::GatewayConfig config = loaded.process.gateway;
  connect(config, (*broker)->bound());
  const auto files_end = static_cast<std::size_t>(std::max(0, (*broker)->descriptors_end()));
  config.open_files_max = files_end - std::min(files_end, files.zeromq_own);
  config.process_pages = {.metrics = [&of = **broker] { return of.exposition(); },
                          .why_not_ready = [&of = **broker] { return of.why_not_ready(); }};
  std::vector<std::string> served{config.first.name};
  for (const gateway::BackplaneConfig& each : config.others) served.push_back(each.name);

  std::unique_ptr<Process> process(new Process(std::move(*broker), loaded, std::move(config)));
  process->served_ = std::move(served);
  if (auto listening = process->gateway_.listen(); !listening) return tl::unexpected(listening.error());
  return process;
}

void Process::print_ready() const {
  for (const broker::Server::Bound& each : broker_->bound()) {
    std::string line = fmt::format("ready role=serve name={} {}", each.name, each.endpoints);
    const auto served = std::ranges::find(served_, each.name);
    if (served != served_.end()) {
      line +=
          fmt::format(" listen={}", gateway_.addresses()[static_cast<std::size_t>(served - served_.begin())]);
    }
    if (const std::string metrics = gateway_.metrics_address(); !metrics.empty())
      line += fmt::format(" metrics={}", metrics);
    log::standard_output().write(line + '\n');
  }
}

/// The gateway's upstream thread.
void Process::serve_clients() noexcept {
  try {
    gateway_.serve();
  } catch (const std::exception& problem) {
    log::error("gateway: {}", problem.what());
    gateway_failed_ = true;
  }
  gateway_ended_.wake();
}

ExitCode Process::run(Signals& signals, const ServeFlags& flags, const ServiceManager& manager) {
  broker_->start();
  gateway_thread_ = std::thread([this] { serve_clients(); });
  gateway_.wait_connected(connect_limit);
  if (!gateway_failed_) {
    print_ready();
    manager.ready();
  }
  const int turn_ms =
      manager.watchdog_interval() ? std::max(1, static_cast<int>(manager.watchdog_interval()->count())) : -1;
  // A drained backplane ends the process: its clients at the gateway would otherwise wait for ever.
  while (!broker_->has_ended() && !gateway_failed_) {
    std::array<pollfd, 3> fds{pollfd{signals.fd(), POLLIN, 0}, pollfd{broker_->ended_fd(), POLLIN, 0},
                              pollfd{gateway_ended_.fd(), POLLIN, 0}};
    if (::poll(fds.data(), fds.size(), turn_ms) < 0 && errno != EINTR) break;
    if (turn_ms > 0 && !broker_->any_stuck() && !gateway_.is_stuck()) manager.alive();
    const Signals::Event event = signals.next();
    if (event == Signals::Event::stop) break;
    if (event != Signals::Event::reload) continue;
    manager.reloading();
    reload(flags);
    manager.ready();
  }
  manager.stopping();
  return end();
}

/// All or nothing: everything is read before anything is applied.
void Process::reload(const ServeFlags& flags) {
  const auto source = serve_source(flags);
  const LoadResult loaded =
      source ? load(flags, *source) : LoadResult(tl::unexpected(std::vector{source.error().text}));
  if (!loaded) {
    for (const std::string& each : loaded.error()) log::error("reload: not applied: {}", each);
    return;
  }
  if (loaded->process.log_level != level_) {
    level_ = loaded->process.log_level;
    log::set_level(level_);
    log::info("reload: applied [log].level");
  }
  if (has_tls_ != (loaded->tls != nullptr)) {
    log::warning("reload: needs a restart: [gateway].tls_certificate ({})",
                 has_tls_ ? "the certificates stay" : "clients stay without TLS");
  }
  broker_->reload(loaded->process.broker);
  gateway_.reload(loaded->tls, loaded->process.security.policy);
}

/// Publishers first, then the broker, then clients: an event that a client has sent, or a publisher, is
/// stored, and what the broker has published is delivered. A second call does nothing.
ExitCode Process::end() {
  if (!gateway_thread_.joinable()) return ExitCode::done;
  log::info("draining");
  if (!gateway_failed_) gateway_.stop_publishing();
  const ExitCode broker_ended = broker_->wait();
  gateway_.stop();
  gateway_thread_.join();
  return gateway_failed_ ? ExitCode::failed : broker_ended;
}

ExitCode run_serve(const ServeFlags& flags) {
  const auto source = serve_source(flags);
  if (!source) return print_error("serve", source.error());
  const LoadResult loaded = load(flags, *source);
  if (!loaded) return print_errors(loaded.error());
  if (show_configuration(flags.broker.configuration, loaded->given)) {
    if (loaded->tls != nullptr) print_tls_warnings("serve", *loaded->tls);
    return ExitCode::done;
  }
  log::set_program("serve");
  log::set_level(loaded->process.log_level);
  Signals signals;
  const ServiceManager manager = ServiceManager::from_environment();
  if (auto made = make_data_folder(flags.broker); !made) return print_error("serve", made.error());
  if (const std::string& unused = loaded->given.gateway.metrics; unused != broker::off) {
    log::warning("[gateway].metrics ({}) is not used: the address of [metrics] has the pages of both",
                 unused);
  }
  const auto process = Process::open(*loaded);
  if (!process) return print_error("serve", process.error());
  return (*process)->run(signals, flags, manager);
}

}  // namespace

void add_serve(const Command& program) {
  auto flags = std::make_shared<ServeFlags>();
  const Command command = program.add_command("serve", "Run a broker and a gateway in one process");
  add_broker_flags(command, flags->broker);
  add_gateway_flags(command, flags->gateway);
  command.set_footer(
      "Examples:\n"
      "  backplane serve\n"
      "  backplane serve --data /var/lib/backplane\n"
      "  backplane serve --config backplane.toml --listen 127.0.0.1:1601\n"
      "  backplane serve --policy policy.toml --key broker.key --listen 0.0.0.0:1601 --tls-certificate "
      "gw.pem \\\n"
      "    --tls-key gw.key");
  command.set_run([flags] { return run_serve(*flags); });
}

}  // namespace backplane::cli
