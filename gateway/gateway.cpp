#include "gateway/gateway.hpp"

#include <algorithm>
#include <atomic>
#include <optional>
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
#include "core/process/wake_fd.hpp"
#include "core/thread/mutex.hpp"
#include "core/tls/pem_files.hpp"
#include "gateway/access/authenticator.hpp"
#include "gateway/backplane.hpp"
#include "gateway/descriptor_budget.hpp"
#include "gateway/operations/figures.hpp"
#include "gateway/operations/pages.hpp"
#include "gateway/poller.hpp"

namespace backplane::gateway {
namespace {

using Clock = Backplane::Clock;
using namespace std::chrono_literals;

constexpr auto board_interval = 1s;
constexpr auto publisher_close_limit = 200ms;
// How long stop_publishing() waits, for all backplanes together.
constexpr auto stop_publishing_limit = 500ms;
// As for a broker's loop.
constexpr auto stuck_after = 10s;
// For events that a broker in this process, which has ended, has left to be read.
constexpr auto read_limit = 1s;

/// The number of descriptors in use, if the lowest are: those that are open at the start of a process.
int open_descriptors() {
  const Descriptor next(::dup(STDERR_FILENO));
  return next ? next.get() : 0;
}

/// What other threads want of the upstream thread, and what they wait for. Any thread.
class Orders {
 public:
  struct Reload {
    std::shared_ptr<const fanout::TlsContext> tls;
    std::shared_ptr<const policy::Policy> policy;
  };
  struct Given {
    bool stop_publishing{};
    bool stop{};
    std::optional<Reload> reload;
  };

  /// Readable when there are orders, until take().
  [[nodiscard]] int fd() const noexcept { return wake_.fd(); }
  [[nodiscard]] Given take() {
    wake_.drain();
    const MutexLock lock(mutex_);
    return std::exchange(given_, {});
  }

  void stop() {
    const MutexLock lock(mutex_);
    given_.stop = true;
    wake_.wake();
  }
  void reload(Reload reload) {
    const MutexLock lock(mutex_);
    given_.reload = std::move(reload);
    wake_.wake();
  }
  /// Waits until on_publishing_stopped() is called, until `until` at most.
  void stop_publishing(Clock::time_point until) {
    const MutexLock lock(mutex_);
    given_.stop_publishing = true;
    wake_.wake();
    while (!publishing_stopped_ && changed_.wait_until(mutex_, until)) {
    }
  }
  void on_publishing_stopped() {
    const MutexLock lock(mutex_);
    publishing_stopped_ = true;
    changed_.notify_all();
  }
  void wait_connected(Clock::time_point until) {
    const MutexLock lock(mutex_);
    while (!connected_ && changed_.wait_until(mutex_, until)) {
    }
  }
  void on_connected() {
    const MutexLock lock(mutex_);
    connected_ = true;
    changed_.notify_all();
  }

 private:
  WakeFd wake_;
  Mutex mutex_;
  CondVar changed_;
  Given given_ GUARDED_BY(mutex_);
  bool publishing_stopped_ GUARDED_BY(mutex_){};
  bool connected_ GUARDED_BY(mutex_){};
};

}  // namespace

class Gateway::Impl {
 public:
  Impl(GatewayConfig config, const std::shared_ptr<const fanout::TlsContext>& tls,
       std::shared_ptr<const policy::Policy> policy)
      : config_(std::move(config)),
        name_(config_.name.empty() ? default_name("gateway", config_.keys) : config_.name),
        files_(config_.open_files_max ? *config_.open_files_max : raise_open_files_limit()),
        descriptors_(descriptor_budget(config_, files_)),
        policy_(std::move(policy)) {
    if (policy_) authenticator_ = std::make_unique<Authenticator>(policy_);
    add(config_.first, tls);
    for (const BackplaneConfig& each : config_.others) add(each, tls);
    if (tls) log_tls(*tls);
  }

  ExitCode run(Signals& signals, const ServiceManager& manager);
  Result<void> listen();
  [[nodiscard]] const std::vector<std::string>& addresses() const noexcept { return addresses_; }
  [[nodiscard]] std::string metrics_address() const { return metrics_ ? metrics_->address() : std::string(); }
  void serve();
  Orders& orders() noexcept { return orders_; }
  [[nodiscard]] bool is_stuck() const noexcept {
    const Clock::duration turned = turned_at_.load(std::memory_order_relaxed);
    return turned != Clock::duration{} && Clock::now().time_since_epoch() - turned >= stuck_after;
  }

 private:
  void add(const BackplaneConfig& backplane, const std::shared_ptr<const fanout::TlsContext>& tls) {
    backplanes_.push_back(std::make_unique<Backplane>(config_, backplane, name_, descriptors_, board_, tls,
                                                      policy_, authenticator_.get()));
  }
  void log_tls(const fanout::TlsContext& tls) const;
  void log_clients_max() const;
  void read_and_reload();
  void reload(const Orders::Reload& what);
  void obey(bool& stop);
  void finish_reading();
  Result<void> open_metrics();
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
  std::vector<std::string> addresses_;
  Clock::time_point next_board_{};
  std::size_t connected_{};          // backplanes with a broker
  const ServiceManager* manager_{};  // while run() runs
  Orders orders_;
  std::atomic<Clock::duration> turned_at_{};           // when turn() was last called, in serve()
  std::unique_ptr<metrics::MetricsListener> metrics_;  // last: its thread reads the board
};

void Gateway::Impl::log_tls(const fanout::TlsContext& tls) const {
  log::info("TLS: {}, valid until {}; clients without TLS are {}",
            log::escape(fmt::format("{}", fmt::join(config_.tls.certificates, ", "))),
            tls::utc_text(tls.expires()), config_.tls_required.value_or(true) ? "refused" : "served too");
  for (const std::string& line : tls.warnings(std::chrono::system_clock::now())) log::warning("{}", line);
}

/// All or nothing: everything is read before anything is applied.
void Gateway::Impl::read_and_reload() {
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
  reload({*tls, *std::move(policy)});
}

void Gateway::Impl::reload(const Orders::Reload& what) {
  if (what.policy != nullptr && policy_ != nullptr) {
    policy_ = what.policy;
    authenticator_->set_policy(policy_);
    for (const auto& backplane : backplanes_) backplane->change_policy(policy_);
    log::info("reload: applied the policy");
  }
  if (what.tls != nullptr && !config_.tls.certificates.empty()) {
    for (const auto& backplane : backplanes_) backplane->set_tls(what.tls);
    log::info("reload: applied the TLS certificates");
    log_tls(*what.tls);
  }
  log::info("reload: a gateway needs a restart for every other change");
}

Result<void> Gateway::Impl::listen() {
  show_figures(Clock::now());
  if (const auto note = config_.insecure_note(); !note.empty()) log::warning("{}", note);
  for (const auto& backplane : backplanes_) {
    const auto addresses = backplane->listen();
    if (!addresses) return tl::unexpected(addresses.error());
    addresses_.push_back(*addresses);
    backplane->watch(poller_);
  }
  return open_metrics();
}

void Gateway::Impl::log_clients_max() const {
  const auto clients = static_cast<std::size_t>(std::max(0, descriptors_.clients_end - open_descriptors()));
  if (clients == 0) {
    log::warning("open files limit {}: too low to serve clients; raise it with ulimit -n", files_);
  } else {
    log::info("open files limit {}: at most {} clients", files_, std::min(clients, config_.connections_max));
  }
}

Result<void> Gateway::Impl::open_metrics() {
  if (config_.metrics == "off") return {};
  auto listener =
      metrics::MetricsListener::open(config_.metrics,
                                     {.metrics = [this] { return metrics_page(config_, board_); },
                                      .why_not_ready = [this] { return why_not_ready(config_, board_); },
                                      .ready_note = std::string(config_.insecure_note())},
                                     {.connections_max = descriptors_.metrics_connections_max});
  if (!listener) return fail(listener.error().code, fmt::format("metrics: {}", listener.error().text));
  metrics_ = std::move(*listener);
  log::info("metrics on {}", metrics_->address());
  return {};
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
  const auto connected = static_cast<std::size_t>(
      std::ranges::count_if(backplanes_, [](const auto& each) { return each->connected(); }));
  const bool changed = std::exchange(connected_, connected) != connected;
  const bool due = now >= next_board_;
  if (changed || due) show_figures(now);  // /readyz shows it at once
  if (changed && connected == backplanes_.size()) orders_.on_connected();
  if (due && manager_ != nullptr) manager_->alive();
}

ExitCode Gateway::Impl::run(Signals& signals, const ServiceManager& manager) {
  bool signalled = false;
  poller_.watch(signals.fd(), &signalled);
  if (const auto listening = listen(); !listening) {
    log::error("{}", listening.error().text);
    return ExitCode::failed;
  }
  std::string lines;
  for (const std::string& each : addresses_) lines += fmt::format("ready role=gateway listen={}\n", each);
  log::standard_output().write(lines);
  log_clients_max();
  manager_ = &manager;
  manager.ready();
  for (bool stop = false; !stop;) {
    turn(Clock::time_point::max());
    if (!std::exchange(signalled, false)) continue;
    for (auto event = signals.next(); event != Signals::Event::none; event = signals.next()) {
      if (event == Signals::Event::stop) stop = true;
      if (event != Signals::Event::reload) continue;
      manager.reloading();
      read_and_reload();
      manager.ready();
    }
  }
  manager.stopping();
  drain();
  manager_ = nullptr;
  return ExitCode::done;
}

void Gateway::Impl::serve() {
  // The caller's thread owns the sockets until this returns, or throws.
  struct Release {
    const std::vector<std::unique_ptr<Backplane>>& backplanes;
    ~Release() {
      for (const auto& backplane : backplanes) backplane->release();
    }
  } const release_at_the_end{backplanes_};
  bool ordered = false;
  poller_.watch(orders_.fd(), &ordered);
  log_clients_max();
  for (bool stop = false; !stop;) {
    turned_at_.store(Clock::now().time_since_epoch(), std::memory_order_relaxed);
    turn(Clock::time_point::max());
    if (std::exchange(ordered, false)) obey(stop);
  }
  finish_reading();
  drain();
}

void Gateway::Impl::obey(bool& stop) {
  const Orders::Given orders = orders_.take();
  if (orders.reload) reload(*orders.reload);
  if (orders.stop_publishing) {
    for (const auto& backplane : backplanes_) {
      backplane->stop_publishing(stop_publishing_limit / backplanes_.size());
    }
    orders_.on_publishing_stopped();
  }
  stop = stop || orders.stop;
}

/// The broker of this process has ended. What it has published is delivered before clients are notified.
void Gateway::Impl::finish_reading() {
  const auto has_unread = [&] {
    return std::ranges::any_of(backplanes_, [](const auto& each) { return each->has_unread(); });
  };
  const auto until = Clock::now() + read_limit;
  while (has_unread() && Clock::now() < until) turn(Clock::time_point::min());
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
Result<void> Gateway::listen() {
  return impl_->listen();
}
const std::vector<std::string>& Gateway::addresses() const noexcept {
  return impl_->addresses();
}
std::string Gateway::metrics_address() const {
  return impl_->metrics_address();
}
void Gateway::serve() {
  impl_->serve();
}
void Gateway::wait_connected(std::chrono::milliseconds limit) {
  impl_->orders().wait_connected(Clock::now() + limit);
}
void Gateway::stop_publishing() {
  impl_->orders().stop_publishing(Clock::now() + 2 * stop_publishing_limit);
}
void Gateway::stop() {
  impl_->orders().stop();
}
bool Gateway::is_stuck() const noexcept {
  return impl_->is_stuck();
}
void Gateway::reload(std::shared_ptr<const fanout::TlsContext> tls,
                     std::shared_ptr<const policy::Policy> policy) {
  impl_->orders().reload({std::move(tls), std::move(policy)});
}

}  // namespace backplane::gateway
