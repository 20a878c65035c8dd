#include "broker/server.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <exception>
#include <limits>
#include <thread>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <poll.h>

#include "broker/loop.hpp"
#include "broker/operations/exposition.hpp"
#include "core/log/escape.hpp"
#include "core/log/log.hpp"
#include "core/metrics/listener.hpp"
#include "core/net/loopback.hpp"
#include "core/process/host.hpp"
#include "core/process/wake_fd.hpp"
#include "core/thread/mutex.hpp"

namespace backplane::broker {
namespace {

LoopSettings settings_of(const BackplaneConfig& config) {
  return {.history = history_limits(config),
          .stats_every = config.stats_every,
          .max_subscriptions_warning = config.max_subscriptions_warning};
}

/// The settings of the whole process that differ and cannot change while it runs.
std::vector<std::string> fixed_changes(const BrokerConfig& old, const BrokerConfig& now) {
  std::vector<std::string> changes;
  if (old.metrics != now.metrics) changes.push_back(fmt::format("[metrics].listen (stays {})", old.metrics));
  if (old.insecure != now.insecure) changes.push_back(fmt::format("insecure (stays {})", old.insecure));
  if (old.admission.required() != now.admission.required()) {
    changes.push_back(old.admission.required()
                          ? fmt::format("policy and key (stay {} and {})", old.admission.policy_file,
                                        old.admission.key_file)
                          : std::string("policy and key (clients stay unauthenticated)"));
  } else if (old.admission.required() && old.admission.key->public_key() != now.admission.key->public_key()) {
    changes.push_back(fmt::format("key (stays that of {})", to_text(old.admission.key->public_key())));
  }
  return changes;
}

/// The settings that differ between two configurations of a backplane and cannot change while it runs.
std::vector<std::string> fixed_changes(const BackplaneConfig& old, const BackplaneConfig& now) {
  std::vector<std::string> changes;
  const auto compare = [&](const char* key, const auto& before, const auto& after) {
    if (before != after) changes.push_back(fmt::format("{} (stays {})", key, before));
  };
  compare("identity", old.identity.empty() ? "\"\"" : old.identity,
          now.identity.empty() ? "\"\"" : now.identity);
  compare("ingress", old.ingress, now.ingress);
  compare("egress", old.egress, now.egress);
  if (old.egress_topics != now.egress_topics) {
    changes.push_back(fmt::format("egress_topics (stays {})", fmt::join(old.egress_topics, ", ")));
  }
  if (old.limited_egress != now.limited_egress) changes.emplace_back("limited_egress (stays as it is)");
  compare("control", old.control, now.control);
  compare("raw", old.raw, now.raw);
  if (old.store != now.store) {
    changes.push_back(fmt::format("store (stays {})", old.store == StoreKind::file ? "file" : "memory"));
  }
  compare("store_path", old.store_path, now.store_path);
  compare("store_sync", old.store_sync, now.store_sync);
  if (old.log != now.log) {
    changes.push_back(fmt::format("log (stays {})", old.log == LogKind::local ? "local" : "jetstream"));
  }
  if (old.jetstream.servers != now.jetstream.servers) changes.emplace_back("jetstream (stays as it is)");
  compare("jetstream_credentials", old.jetstream.credentials, now.jetstream.credentials);
  compare("jetstream_replicas", old.jetstream.replicas, now.jetstream.replicas);
  compare("log_bytes_max", old.jetstream.log_bytes_max, now.jetstream.log_bytes_max);
  compare("max_event_bytes", old.max_event_bytes, now.max_event_bytes);
  compare("max_topics", old.max_topics, now.max_topics);
  compare("max_sessions", old.max_sessions, now.max_sessions);
  compare("subscriptions_bytes_max", old.subscriptions_bytes_max, now.subscriptions_bytes_max);
  compare("egress_hwm", old.egress_hwm, now.egress_hwm);
  if (old.drain_limit != now.drain_limit) {
    changes.push_back(fmt::format("drain_limit (stays {} ms)", old.drain_limit.count()));
  }
  return changes;
}

void warn_if_open_to_others(const BackplaneConfig& config) {
  if (config.admission.required()) return;
  for (const std::string& endpoint : {config.ingress, config.egress, config.control, config.raw}) {
    if (!is_reachable_from_elsewhere(endpoint)) continue;
    log::warning("{}: {} is reachable from other machines without authentication", config.name, endpoint);
  }
}

}  // namespace

class Server::Impl {
 public:
  explicit Impl(BrokerConfig config) : config_(std::move(config)) {}
  ~Impl() {
    drain();
    join();
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  Result<void> open(std::size_t files_kept);
  [[nodiscard]] std::vector<std::string> ready_lines() const;
  ExitCode run(Signals& signals, const Reader& read_config, const ServiceManager& manager);

  [[nodiscard]] std::vector<Bound> bound() const;
  void start();
  [[nodiscard]] int ended_fd() const noexcept { return ended_.fd(); }
  [[nodiscard]] bool has_ended() noexcept;
  ExitCode wait();
  void reload(const BrokerConfig& config);
  [[nodiscard]] bool any_stuck();
  [[nodiscard]] std::string exposition() const;
  [[nodiscard]] std::string why_not_ready() const;
  [[nodiscard]] int descriptors_end() const noexcept { return descriptors_end_; }

 private:
  struct Backplane {
    BackplaneConfig config;
    SnapshotBoard board;
    BoundEndpoints bound;
    LocalEndpoints local;
    std::thread thread;
    Mutex loop_mutex;
    std::unique_ptr<Loop> loop GUARDED_BY(loop_mutex);  ///< nullptr once run() has returned
  };

  Result<void> open_metrics();
  [[nodiscard]] std::string_view insecure_text() const;
  void work(Backplane& backplane) noexcept;
  void drain();
  [[nodiscard]] bool is_running() noexcept;
  void read_and_reload(const Reader& read_config);
  void apply_policy(const Admission& admission);
  void join();

  BrokerConfig config_;
  std::size_t metrics_connections_max_{};
  int descriptors_end_{};
  std::vector<std::unique_ptr<Backplane>> backplanes_;
  std::unique_ptr<metrics::MetricsListener> listener_;
  std::atomic<std::size_t> running_{};
  std::atomic<bool> failed_{};
  WakeFd ended_;  ///< readable when a loop has ended
};

Result<void> Server::Impl::open(std::size_t files_kept) {
  const auto files = static_cast<std::size_t>(
      std::min<std::uint64_t>(raise_open_files_limit(), std::numeric_limits<int>::max()));
  // libzmq takes every descriptor for connections. Those of health checks and of stores, and a few to read
  // the configuration and to look names up, are kept.
  metrics_connections_max_ = std::clamp<std::size_t>(files / 32, 2, 256);
  std::size_t stores = 0;
  for (const BackplaneConfig& config : config_.backplanes) stores += store_files_max(config);
  if (stores > files / 2) {
    log::warning(
        "open files: the limit is {}, and the stores may need {}: connections get half of the limit. A "
        "higher "
        "limit (ulimit -n) leaves room for both",
        files, stores);
    stores = files / 2;
  }
  descriptors_end_ =
      static_cast<int>(files - std::min(files, 8 + metrics_connections_max_ + stores + files_kept));
  if (config_.insecure) log::warning("{}", insecure_text());
  if (const Admission& admission = config_.admission; admission.required()) {
    log::info("clients need a key that {} has; the broker's public key is {}",
              log::escape(admission.policy_file), to_text(admission.key->public_key()));
  }
  for (BackplaneConfig& config : config_.backplanes) {
    config.insecure = config_.insecure;
    config.admission = config_.admission;
    config.serves_own_process = config_.serves_own_process;
    warn_if_open_to_others(config);
    auto backplane = std::make_unique<Backplane>();
    backplane->config = config;
    auto loop = std::make_unique<Loop>(config, backplane->board, descriptors_end_);
    auto bound = loop->open();
    if (!bound) {
      // An error of the configuration says where that is.
      for (const std::string& place : {config.store_place, config.max_event_place}) {
        if (!place.empty() && bound.error().text.starts_with(place)) return tl::unexpected(bound.error());
      }
      return fail(bound.error().code, fmt::format("backplane \"{}\": {}", config.name, bound.error().text));
    }
    backplane->bound = *bound;
    if (config.serves_own_process) backplane->local = loop->local();
    {
      const MutexLock lock(backplane->loop_mutex);
      backplane->loop = std::move(loop);
    }
    backplanes_.push_back(std::move(backplane));
  }
  return open_metrics();
}

Result<void> Server::Impl::open_metrics() {
  if (config_.metrics == off) return {};
  auto listener = metrics::MetricsListener::open(
      config_.metrics,
      {.metrics = [this] { return exposition(); },
       .why_not_ready = [this] { return why_not_ready(); },
       .ready_note = config_.insecure ? std::string(insecure_text()) : std::string()},
      {.connections_max = metrics_connections_max_});
  if (!listener) return tl::unexpected(listener.error());
  listener_ = std::move(*listener);
  if (is_reachable_from_elsewhere(config_.metrics)) {
    log::warning("metrics: {} is reachable from other machines without authentication", config_.metrics);
  }
  return {};
}

std::string_view Server::Impl::insecure_text() const {
  return config_.admission.required() ? insecure_metrics_note : insecure_note;
}

std::string Server::Impl::exposition() const {
  std::vector<BackplaneSnapshot> snapshots;
  for (const auto& backplane : backplanes_) snapshots.push_back(backplane->board.latest());
  return expose_snapshots(snapshots);
}

std::string Server::Impl::why_not_ready() const {
  for (const auto& backplane : backplanes_) {
    if (std::string reason = not_ready_reason(backplane->board.latest()); !reason.empty()) return reason;
  }
  return {};
}

bool Server::Impl::any_stuck() {
  return std::any_of(backplanes_.begin(), backplanes_.end(), [](const auto& backplane) {
    const MutexLock lock(backplane->loop_mutex);
    return backplane->loop && is_stuck(backplane->board.latest());
  });
}

std::vector<std::string> Server::Impl::ready_lines() const {
  std::vector<std::string> lines;
  for (const Bound& each : bound()) {
    lines.push_back(fmt::format("ready role=broker name={} {}", each.name, each.endpoints));
    if (listener_) lines.back() += fmt::format(" metrics={}", listener_->address());
  }
  return lines;
}

std::vector<Server::Bound> Server::Impl::bound() const {
  std::vector<Bound> all;
  for (const auto& backplane : backplanes_) {
    const BoundEndpoints& bound = backplane->bound;
    std::string text =
        fmt::format("ingress={} egress={} control={}", bound.ingress, bound.egress, bound.control);
    if (!bound.raw.empty()) text += fmt::format(" raw={}", bound.raw);
    if (!bound.limited_egress.empty())
      text += fmt::format(" limited_egress={}", fmt::join(bound.limited_egress, ","));
    if (backplane->config.log == LogKind::jetstream)
      text += fmt::format(" log=jetstream member={}", bound.member);
    all.push_back({backplane->config.name, std::move(text), backplane->local});
  }
  return all;
}

void Server::Impl::work(Backplane& backplane) noexcept {
  Loop* loop = nullptr;
  {
    const MutexLock lock(backplane.loop_mutex);
    loop = backplane.loop.get();
  }
  try {
    loop->run();
  } catch (const std::exception& problem) {
    log::error("{}: {}", backplane.config.name, problem.what());
    failed_ = true;
  }
  // Closing waits for subscribers that are still reading. Each backplane closes on its own thread, so the
  // waits overlap.
  std::unique_ptr<Loop> ended;
  {
    const MutexLock lock(backplane.loop_mutex);
    ended = std::move(backplane.loop);
  }
  ended.reset();
  --running_;
  ended_.wake();
}

void Server::Impl::start() {
  running_ = backplanes_.size();
  for (auto& backplane : backplanes_) {
    backplane->thread = std::thread([this, &backplane = *backplane] { work(backplane); });
  }
}

bool Server::Impl::is_running() noexcept {
  ended_.drain();
  return running_ > 0 && !failed_;
}

bool Server::Impl::has_ended() noexcept {
  ended_.drain();
  return running_ < backplanes_.size() || failed_;
}

ExitCode Server::Impl::wait() {
  drain();
  join();
  return failed_ ? ExitCode::failed : ExitCode::done;
}

ExitCode Server::Impl::run(Signals& signals, const Reader& read_config, const ServiceManager& manager) {
  start();
  manager.ready();
  const int turn_ms =
      manager.watchdog_interval() ? std::max(1, static_cast<int>(manager.watchdog_interval()->count())) : -1;
  while (is_running()) {
    std::array<pollfd, 2> fds{pollfd{signals.fd(), POLLIN, 0}, pollfd{ended_.fd(), POLLIN, 0}};
    if (::poll(fds.data(), fds.size(), turn_ms) < 0 && errno != EINTR) break;
    if (turn_ms > 0 && !any_stuck()) manager.alive();
    switch (signals.next()) {
      case Signals::Event::stop:
        manager.stopping();
        log::info("draining");
        drain();
        break;
      case Signals::Event::reload:
        manager.reloading();
        read_and_reload(read_config);
        manager.ready();
        break;
      case Signals::Event::none:
        break;
    }
  }
  manager.stopping();
  return wait();
}

void Server::Impl::drain() {
  for (auto& backplane : backplanes_) {
    const MutexLock lock(backplane->loop_mutex);
    if (backplane->loop) backplane->loop->drain();
  }
}

void Server::Impl::read_and_reload(const Reader& read_config) {
  const Result<BrokerConfig> config = read_config();
  if (!config) return log::error("reload: not applied: {}", config.error().text);
  reload(*config);
}

void Server::Impl::reload(const BrokerConfig& config) {
  for (const std::string& change : fixed_changes(config_, config)) {
    log::warning("reload: needs a restart: {}", change);
  }
  apply_policy(config.admission);
  for (auto& backplane : backplanes_) {
    const auto found = std::find_if(config.backplanes.begin(), config.backplanes.end(),
                                    [&](const auto& each) { return each.name == backplane->config.name; });
    if (found == config.backplanes.end()) {
      log::warning("reload: {}: needs a restart: no longer configured", backplane->config.name);
      continue;
    }
    for (const std::string& change : fixed_changes(backplane->config, *found)) {
      log::warning("reload: {}: needs a restart: {}", backplane->config.name, change);
    }
    {
      const MutexLock lock(backplane->loop_mutex);
      if (!backplane->loop) continue;
      backplane->loop->reload(settings_of(*found));
    }
    log::info(
        "reload: {}: applied retention, history_bytes_max, store_bytes_max, stats_every and "
        "max_subscriptions_warning",
        backplane->config.name);
  }
  for (const BackplaneConfig& each : config.backplanes) {
    const bool known = std::any_of(backplanes_.begin(), backplanes_.end(), [&](const auto& backplane) {
      return backplane->config.name == each.name;
    });
    if (!known) log::warning("reload: {}: needs a restart: new backplane", each.name);
  }
}

/// From now on, the broker decides by the new policy. A policy that is missing does not remove the one that
/// is in force.
void Server::Impl::apply_policy(const Admission& admission) {
  if (!config_.admission.required() || admission.policy == nullptr) return;
  config_.admission.policy = admission.policy;
  for (auto& backplane : backplanes_) {
    const MutexLock lock(backplane->loop_mutex);
    if (backplane->loop) backplane->loop->set_policy(admission.policy);
  }
  log::info("reload: applied the policy {}", log::escape(admission.policy_file));
}

void Server::Impl::join() {
  for (auto& backplane : backplanes_) {
    if (backplane->thread.joinable()) backplane->thread.join();
  }
}

Result<std::unique_ptr<Server>> Server::open(BrokerConfig config, std::size_t files_kept) {
  auto impl = std::make_unique<Impl>(std::move(config));
  if (auto opened = impl->open(files_kept); !opened) return tl::unexpected(opened.error());
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() = default;
std::vector<std::string> Server::ready_lines() const {
  return impl_->ready_lines();
}
ExitCode Server::run(Signals& signals, const Reader& read_config, const ServiceManager& manager) {
  return impl_->run(signals, read_config, manager);
}
std::vector<Server::Bound> Server::bound() const {
  return impl_->bound();
}
void Server::start() {
  impl_->start();
}
int Server::ended_fd() const noexcept {
  return impl_->ended_fd();
}
bool Server::has_ended() noexcept {
  return impl_->has_ended();
}
ExitCode Server::wait() {
  return impl_->wait();
}
void Server::reload(const BrokerConfig& config) {
  impl_->reload(config);
}
bool Server::any_stuck() {
  return impl_->any_stuck();
}
std::string Server::exposition() const {
  return impl_->exposition();
}
std::string Server::why_not_ready() const {
  return impl_->why_not_ready();
}
int Server::descriptors_end() const noexcept {
  return impl_->descriptors_end();
}

}  // namespace backplane::broker
