#include "gateway/gateway.hpp"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include "core/credentials/broker_keys.hpp"
#include "core/log/escape.hpp"
#include "core/log/line_writer.hpp"
#include "core/log/log.hpp"
#include "core/metrics/exposition.hpp"
#include "core/metrics/listener.hpp"
#include "core/net/loopback.hpp"
#include "core/process/descriptor.hpp"
#include "core/process/host.hpp"
#include "core/tls/pem_files.hpp"
#include "gateway/access/authenticator.hpp"
#include "gateway/backplane.hpp"
#include "gateway/descriptor_budget.hpp"
#include "gateway/operations/figures.hpp"
#include "gateway/poller.hpp"

namespace backplane::gateway {
namespace {

using Clock = Backplane::Clock;
using namespace std::chrono_literals;

constexpr auto board_interval = 1s;
constexpr auto publisher_close_limit = 200ms;
/// The number of descriptors in use, if the lowest are: those that are open at the start of a process.
int open_descriptors() {
  const Descriptor next(::dup(STDERR_FILENO));
  return next ? next.get() : 0;
}

}  // namespace

class Gateway::Impl {
 public:
  Impl(GatewayConfig config, const std::shared_ptr<const fanout::TlsContext>& tls,
       std::shared_ptr<const policy::Policy> policy)
      : config_(std::move(config)),
        name_(config_.name.empty() ? default_name("gateway", config_.keys) : config_.name),
        files_(raise_open_files_limit()),
        descriptors_(descriptor_budget(config_, files_)),
        policy_(std::move(policy)) {
    if (policy_) authenticator_ = std::make_unique<Authenticator>(policy_);
    add(config_.first, tls);
    for (const BackplaneConfig& each : config_.others) add(each, tls);
    if (tls) log_tls(*tls);
  }

  ExitCode run(Signals& signals, const ServiceManager& manager);

 private:
  void add(const BackplaneConfig& backplane, const std::shared_ptr<const fanout::TlsContext>& tls) {
    backplanes_.push_back(std::make_unique<Backplane>(config_, backplane, name_, descriptors_, board_, tls,
                                                      policy_, authenticator_.get()));
  }
  bool listen();
  void log_tls(const fanout::TlsContext& tls) const;
  void reload();
  bool open_metrics();
  /// Sleeps until there is work, at most until `until`, and does it.
  void turn(Clock::time_point until);
  void show_figures(Clock::time_point now);
  void drain();

  const GatewayConfig config_;
  const std::string name_;
  const std::uint64_t files_;  // the limit
  const DescriptorBudget descriptors_;
  Poller poller_;
  FiguresBoard board_;                            // read by workers
  std::shared_ptr<const policy::Policy> policy_;  // nullptr: everybody may do everything
  std::vector<std::unique_ptr<Backplane>> backplanes_;
  std::unique_ptr<Authenticator> authenticator_;  // if there is a policy; its thread calls the backplanes'
  Clock::time_point next_board_{};
  const ServiceManager* manager_{};  // while run() runs
  std::unique_ptr<metrics::MetricsListener> metrics_;  // last: its thread reads the board
};

void Gateway::Impl::log_tls(const fanout::TlsContext& tls) const {
  log::info("TLS: {}, valid until {}; clients without TLS are {}",
            log::escape(fmt::format("{}", fmt::join(config_.tls.certificates, ", "))),
            tls::utc_text(tls.expires()), config_.tls_required.value_or(true) ? "refused" : "served too");
  for (const std::string& line : tls.warnings(std::chrono::system_clock::now())) log::warning("{}", line);
}

/// All or nothing: everything is read before anything is applied.
void Gateway::Impl::reload() {
  const auto tls = read_tls(config_);
  auto policy = read_policy(config_);
  if (!tls) log::error("reload: nothing applied: {}", tls.error().text);
  if (!policy) {
    for (const std::string& each : policy.error()) log::error("reload: nothing applied: {}", each);
  }
  if (!tls || !policy) return;
  if (*tls == nullptr && *policy == nullptr) {
    return log::info("reload: nothing applied, a gateway needs a restart for every change");
  }
  if (*policy != nullptr) {
    policy_ = *std::move(policy);
    authenticator_->set_policy(policy_);
    for (const auto& backplane : backplanes_) backplane->change_policy(policy_);
    log::info("reload: applied the policy");
  }
  if (*tls != nullptr) {
    for (const auto& backplane : backplanes_) backplane->set_tls(*tls);
    log::info("reload: applied the TLS certificates");
    log_tls(**tls);
  }
  log::info("reload: a gateway needs a restart for every other change");
}

bool Gateway::Impl::listen() {
  if (const auto note = config_.insecure_note(); !note.empty()) log::warning("{}", note);
  std::string lines;
  for (const auto& backplane : backplanes_) {
    const auto addresses = backplane->listen();
    if (!addresses) {
      log::error("{}", addresses.error().text);
      return false;
    }
    lines += fmt::format("ready role=gateway listen={}\n", *addresses);
    backplane->watch(poller_);
  }
  if (!open_metrics()) return false;
  log::standard_output().write(lines);
  return true;
}

bool Gateway::Impl::open_metrics() {
  if (config_.metrics == "off") return true;
  auto listener = metrics::MetricsListener::open(
      config_.metrics,
      {.metrics = [this] { return metrics::expose(families(board_.latest())); },
       .why_not_ready = [this] { return not_ready_reason(board_.latest()); },
       .ready_note = std::string(config_.insecure_note())},
      {.connections_max = descriptors_.metrics_connections_max});
  if (!listener) {
    log::error("metrics: {}", listener.error().text);
    return false;
  }
  metrics_ = std::move(*listener);
  log::info("metrics on {}", metrics_->address());
  return true;
}

void Gateway::Impl::show_figures(Clock::time_point now) {
  next_board_ = now + board_interval;
  std::vector<Figures> all;
  for (const auto& backplane : backplanes_) all.push_back(backplane->figures());
  board_.publish(std::move(all));
}

void Gateway::Impl::turn(Clock::time_point until) {
  until = std::min(until, next_board_);
  // In this order: a worker that adds work after next_deadline() finds this thread asleep, and wakes it.
  for (const auto& backplane : backplanes_) backplane->fall_asleep();
  for (const auto& backplane : backplanes_) until = std::min(until, backplane->next_deadline());
  poller_.wait(until);
  for (const auto& backplane : backplanes_) backplane->wake_up();
  const auto now = Clock::now();
  for (const auto& backplane : backplanes_) backplane->turn(now);
  if (now < next_board_) return;
  show_figures(now);
  if (manager_ != nullptr) manager_->alive();
}

ExitCode Gateway::Impl::run(Signals& signals, const ServiceManager& manager) {
  bool signalled = false;
  poller_.watch(signals.fd(), &signalled);
  show_figures(Clock::now());
  if (!listen()) return ExitCode::failed;
  const auto clients = static_cast<std::size_t>(std::max(0, descriptors_.clients_end - open_descriptors()));
  if (clients == 0) {
    log::warning("open files limit {}: too low to serve clients; raise it with ulimit -n", files_);
  } else {
    log::info("open files limit {}: at most {} clients", files_, std::min(clients, config_.connections_max));
  }
  manager_ = &manager;
  manager.ready();
  for (bool stop = false; !stop;) {
    turn(Clock::time_point::max());
    if (!std::exchange(signalled, false)) continue;
    for (auto event = signals.next(); event != Signals::Event::none; event = signals.next()) {
      if (event == Signals::Event::stop) stop = true;
      if (event != Signals::Event::reload) continue;
      manager.reloading();
      reload();
      manager.ready();
    }
  }
  manager.stopping();
  drain();
  manager_ = nullptr;
  return ExitCode::done;
}

void Gateway::Impl::drain() {
  for (const auto& backplane : backplanes_) backplane->drain();
  const auto all_drained = [&] {
    return std::all_of(backplanes_.begin(), backplanes_.end(),
                       [](const auto& each) { return each->drained(); });
  };
  const auto until = Clock::now() + config_.goodbye_limit;
  while (!all_drained() && Clock::now() < until) turn(std::min(until, Clock::now() + 10ms));
  for (const auto& backplane : backplanes_) backplane->close(publisher_close_limit);
}

Gateway::Gateway(GatewayConfig config, const std::shared_ptr<const fanout::TlsContext>& tls,
                 std::shared_ptr<const policy::Policy> policy)
    : impl_(std::make_unique<Impl>(std::move(config), tls, std::move(policy))) {}
Gateway::~Gateway() = default;
ExitCode Gateway::run(Signals& signals, const ServiceManager& manager) {
  return impl_->run(signals, manager);
}

}  // namespace backplane::gateway
