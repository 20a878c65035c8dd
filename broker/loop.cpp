// The loop of one backplane. Each turn takes events from publishers, publishes them, and then serves
// subscriptions, control requests and timers.

#include "broker/loop.hpp"

#include <algorithm>
#include <array>
#include <iterator>
#include <stdexcept>
#include <utility>

#include <boost/crc.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "backplane/v1/system.pb.h"
#include "broker/access/access.hpp"
#include "broker/admission/endpoint_rule.hpp"
#include "broker/admission/zap_server.hpp"
#include "broker/cluster_member.hpp"
#include "broker/control/service.hpp"
#include "broker/egress/egress_group.hpp"
#include "broker/ingress/connection_watch.hpp"
#include "broker/log/replicated_log.hpp"
#include "broker/operations/exposition.hpp"
#include "broker/pipeline.hpp"
#include "broker/state/memory_history.hpp"
#include "broker/state/participants.hpp"
#include "broker/state/prefetch.hpp"
#include "broker/store/file_history.hpp"
#include "broker/system_events.hpp"
#include "core/log/log.hpp"
#include "core/payload/type_registry.hpp"
#include "core/process/host.hpp"
#include "core/process/wake_fd.hpp"
#include "core/thread/mutex.hpp"
#include "core/time/deadline.hpp"
#include "core/time/duration.hpp"

namespace backplane::broker {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

// Taking many messages per wakeup amortises its cost (one message per wakeup costs six times as much). The
// limit keeps the other sockets from starving.
constexpr int messages_per_turn = 256;
constexpr std::size_t messages_ahead = 16;
static_assert(messages_per_turn % messages_ahead == 0);
// Until a turn is published, its events are in memory twice: as received and stamped. If events are large, a
// turn takes fewer of them.
constexpr std::size_t bytes_per_turn = 4u << 20;
// Frames are reused for later messages, and freed only when those replace them. On an idle loop that can take
// long, so larger frames are freed at once.
constexpr std::size_t reused_frame_bytes_max = 64u << 10;
// Polling an empty socket is a system call, and a turn may be only a few events long. While events flow, the
// other sockets are polled once per interval.
constexpr auto full_poll_interval = 50us;
constexpr int subscriptions_per_turn = 4096;
// Events do not wait longer than this for subscriptions that come and go without a pause.
constexpr auto subscription_time_per_turn = 1ms;
constexpr int subscriptions_per_look = 64;  // at the clock
// How long set_policy() waits for a loop that is busy.
constexpr auto policy_limit = 2s;
// Of each socket: events do not wait while thousands of connections close.
constexpr int connection_events_per_turn = 64;
// While events flow, readers of history get few replies per turn; when the loop is idle they get many.
constexpr int requests_per_busy_turn = 2;
constexpr int requests_per_idle_turn = 64;
// Some requests take long. A turn handles no further request after this time. While events flow, they then
// get `event_time_ratio` times as long as those requests took.
constexpr auto reply_time_per_turn = 1ms;
constexpr int event_time_ratio = 3;
// Events of one publisher that wait for the loop. ZeroMQ counts messages, not bytes: with large events, fewer
// may wait. If the loop takes none, because the store is full, a publisher could otherwise fill the memory.
// Below some 500, libzmq stops and goes on so often that it shows: with 256, bench_broker_proxy uses 1.43
// times the CPU of zmq_proxy, with 512 1.36, and with 10,000 1.33 (Debian 12, two cores, medians of 45 pairs
// each).
constexpr std::size_t waiting_bytes_max = 512u << 20;
constexpr std::size_t waiting_min = 16;
constexpr std::size_t waiting_max = 10'000;
constexpr std::size_t envelope_frames_max = 8;
// The first frame of an envelope within the loop: the socket that the reply belongs to.
constexpr std::string_view network_client = "network";
constexpr std::string_view local_client = "local";
// Replies queued per client, each of at most 256 KiB.
constexpr int reply_hwm = 32;
// At 20 live events per second and more, slices of history are short.
constexpr auto idle_before_long_slices = 50ms;
constexpr auto snapshot_every = 250ms;
constexpr auto idle_before_drained = 200ms;
constexpr std::size_t logged_users_max = 10;
// While something is on its way through the log, retries are due.
constexpr auto log_retry_poll = 50ms;
// At the end: the other brokers learn without it, too.
constexpr auto leave_limit = 1s;

/// A periodic timer.
class Timer {
 public:
  Timer(Clock::duration period, Clock::time_point now) : period_(period), next_(now + period) {}
  [[nodiscard]] bool due(Clock::time_point now) {
    if (now < next_) return false;
    next_ = now + period_;
    return true;
  }
  void set_period(Clock::duration period, Clock::time_point now) {
    period_ = period;
    next_ = now + period;
  }
  [[nodiscard]] Clock::time_point next() const { return next_; }

 private:
  Clock::duration period_;
  Clock::time_point next_;
};

/// The keys of the socket with this ZAP domain; none if clients are not authenticated.
std::optional<mq::CurveServer> curve_of(const BackplaneConfig& config, std::string_view domain) {
  if (!config.admission.required()) return std::nullopt;
  return mq::CurveServer{config.admission.key->bytes(), std::string(domain)};
}

void secure(mq::SocketOptions& options, const BackplaneConfig& config, std::string_view domain) {
  options.curve_server = curve_of(config, domain);
  options.zmtp3_only = !options.curve_server.has_value();
}

constexpr std::string_view ingress_domain = "ingress";
constexpr std::string_view raw_domain = "raw";
constexpr std::string_view control_domain = "control";
constexpr const char* local_ingress = "inproc://ingress";
constexpr const char* local_egress = "inproc://egress";
constexpr const char* local_control = "inproc://control";
std::string egress_domain(std::size_t index) {
  return index == 0 ? "egress" : fmt::format("limited_egress {}", index);
}

mq::SocketOptions local_ingress_options(const BackplaneConfig& config) {
  mq::SocketOptions options;
  options.send_hwm = 0;  // with a limit, subscriptions could be lost without an error
  options.receive_hwm = static_cast<int>(
      std::clamp<std::size_t>(waiting_bytes_max / config.max_event_bytes, waiting_min, waiting_max));
  return options;
}

mq::SocketOptions ingress_options(const BackplaneConfig& config, std::string_view domain) {
  mq::SocketOptions options = local_ingress_options(config);
  // Above our own limit, so that an event slightly above it is refused with a reason: above this one libzmq
  // closes the connection.
  options.max_message_bytes = static_cast<std::int64_t>(4 * config.max_event_bytes);
  secure(options, config, domain);
  options.io_thread = 0;
  return options;
}

mq::SocketOptions local_control_options() {
  mq::SocketOptions options;
  options.send_hwm = reply_hwm;
  return options;
}

mq::SocketOptions control_options(const BackplaneConfig& config) {
  mq::SocketOptions options = local_control_options();
  options.max_message_bytes = static_cast<std::int64_t>(config.max_event_bytes + (64u << 10));
  secure(options, config, control_domain);
  options.io_thread = 0;
  return options;
}

/// The topics that every subscriber needs: the replies to its own subscriptions, and the end of the broker.
constexpr std::array<std::string_view, 2> topics_for_everyone{"$SYS.live.>", drain_topic};

std::vector<Pattern> with_topics_for_everyone(std::vector<Pattern> topics) {
  if (topics.empty()) return topics;  // it has all
  for (const std::string_view each : topics_for_everyone) topics.push_back(Pattern::parse(each).value());
  return topics;
}

std::uint64_t users_with_keys(const policy::Policy& policy) {
  return static_cast<std::uint64_t>(
      std::ranges::count_if(policy.users(), [](const policy::User& each) { return !each.curve.empty(); }));
}

std::unique_ptr<HistoryStore> make_store(const BackplaneConfig& config) {
  if (config.store == StoreKind::memory) return std::make_unique<MemoryHistory>(history_limits(config));
  FileHistoryOptions options;
  options.path = config.store_path;
  options.backplane = config.name;
  options.sync = config.sync.when;
  options.sync_interval = config.sync.interval;
  options.limits = history_limits(config);
  options.sessions_max = config.max_sessions;
  options.has_users = config.admission.required();
  options.is_numbered_by_log = config.log != LogKind::local;
  return std::make_unique<FileHistory>(std::move(options));
}

std::unique_ptr<CommitLog> make_log(const BackplaneConfig& config, Access& users) {
  if (config.log == LogKind::local) return std::make_unique<LocalLog>();
  return std::make_unique<ReplicatedLog>(users);
}

/// What other brokers of the log call this one.
std::string member_name(const BackplaneConfig& config, std::string_view ingress) {
  if (!config.identity.empty()) return config.identity;
  constexpr std::string_view tcp = "tcp://";
  if (ingress.starts_with(tcp)) ingress.remove_prefix(tcp.size());
  return fmt::format("{}/{}", host_name(), ingress);
}

/// Upper half: the same for every incarnation of this backplane. Lower half: this incarnation.
std::uint64_t make_stream(const BackplaneConfig& config, const std::string& ingress) {
  const std::string identity = config.identity.empty()
                                   ? fmt::format("{}/{}/{}", host_name(), config.name, ingress)
                                   : fmt::format("{}/{}", config.identity, config.name);
  boost::crc_32_type crc;
  crc.process_bytes(identity.data(), identity.size());
  return std::uint64_t{crc.checksum()} << 32 | (random_id() & 0xffff'ffffu);
}

}  // namespace

/// Owns the sockets, the state and the pipeline of the backplane; lives on the loop thread.
class Loop::Impl final : public ReplySink {
 public:
  Impl(BackplaneConfig config, SnapshotBoard& board, int descriptors_max);
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  Result<BoundEndpoints> open();
  [[nodiscard]] LocalEndpoints local() const {
    return {context_, local_ingress, local_egress, local_control};
  }
  void run();
  void drain() noexcept;
  void reload(LoopSettings settings);
  void set_policy(std::shared_ptr<const policy::Policy> policy);

  void reply(const Envelope& envelope, std::string_view bytes) override;

 private:
  struct Incoming {
    zmq::message_t topic;
    zmq::message_t event;
    std::size_t frames{};
    std::size_t bytes{};
  };
  /// Where a message comes from.
  enum class From { ingress, raw, local };
  /// A policy that is not yet applied to open connections, and the users to disconnect, for each of rules_.
  struct PolicyChange {
    std::shared_ptr<const policy::Policy> policy{};
    std::vector<UserNames> to_disconnect{};
    std::uint64_t number{};
  };

  ConnectionWatch* watch(mq::Socket& socket, EndpointRule rule, int descriptors_max);
  void add_local_sockets();
  [[nodiscard]] Result<void> open_local_sockets();
  [[nodiscard]] Result<void> restore();
  void open_ingress();
  void catch_up();

  // One turn of the loop, in this order:
  [[nodiscard]] int take_events(bool all);
  [[nodiscard]] int drain_socket(mq::Socket& socket, From from);
  void note_connections(From from, std::size_t received);
  void take(Incoming& message, TopicEntry* known, From from);
  [[nodiscard]] bool receive(mq::Socket& socket, Incoming& message);
  [[nodiscard]] int serve_subscriptions();
  [[nodiscard]] int serve_subscriptions(Egress& egress, ConnectionWatch* connections);
  [[nodiscard]] int serve_requests(int limit, Clock::time_point now);
  [[nodiscard]] bool serve_request(mq::Socket& socket, From from, Clock::time_point now);
  void keep_time(Clock::time_point now);
  void sleep(Clock::time_point now, bool takes_events);

  void publish_source_status(const std::string& topic, const v1::SourceStatus& status);
  void take_settings(Clock::time_point now);
  void apply_policy(const PolicyChange& change);
  void watch_store();
  void watch_log(Clock::time_point now);
  void watch_subscriptions();
  void watch_connections(Clock::time_point now);
  void publish_snapshot();
  [[nodiscard]] BackplaneSnapshot snapshot() const;
  void begin_drain(Clock::time_point now);
  [[nodiscard]] bool drained(Clock::time_point now) const;
  void end();
  template <class Condition>
  void flush_until(Clock::time_point deadline, const Condition& is_done);
  void wake() noexcept;
  void release_sockets() noexcept;

  BackplaneConfig config_;
  SnapshotBoard& board_;
  const std::shared_ptr<mq::Context> context_ = std::make_shared<mq::Context>(2);
  BackplaneState state_;
  std::optional<ZapServer> zap_;  ///< if clients are authenticated; above the sockets: outlives them
  mq::Socket ingress_;
  std::optional<mq::Socket> raw_;
  mq::Socket control_;
  EgressGroup egress_;  ///< with local sockets, the last endpoint is the process's own
  // For the rest of the process. These are sockets of their own: whatever a program on the network sends, it
  // cannot come by them.
  std::optional<mq::Socket> local_ingress_;
  std::optional<mq::Socket> local_control_;
  std::vector<std::unique_ptr<ConnectionWatch>> connections_;  ///< of each socket that binds to the network
  ConnectionWatch* ingress_connections_{};
  ConnectionWatch* raw_connections_{};
  ConnectionWatch* control_connections_{};
  std::vector<ConnectionWatch*> egress_connections_;  ///< of each endpoint of egress_; nullptr: the local one
  std::vector<EndpointRule> rules_;                   ///< of each of connections_
  Access access_;
  Pipeline pipeline_;
  Participants participants_;
  TypeRegistry types_;
  std::optional<ClusterMember> cluster_;  ///< if several brokers share the log
  ControlService service_;
  BoundEndpoints bound_;

  std::array<Incoming, messages_ahead> incoming_;  ///< received messages, reused so that nothing is allocated
  zmq::message_t request_;
  Timer each_second_;
  Clock::time_point next_connections_{};
  Timer stats_;
  Timer snapshots_;
  Clock::time_point opened_{};  ///< when this incarnation of the stream began
  Clock::time_point last_event_{};
  Clock::time_point drain_began_{};
  bool raw_flows_{};
  bool local_flows_{};
  bool subscriptions_warned_{};
  bool store_was_full_{};
  std::string log_fault_;  ///< why the log accepts no events, as it was logged
  log::RateLimit log_lines_{1min};
  log::RateLimit handshake_lines_{1min};
  log::RateLimit refused_lines_{1min};
  log::RateLimit source_lines_{1s};
  log::RateLimit revoked_lines_{1s};

  // Written by other threads; the loop reads them once per turn.
  WakeFd wake_;
  std::atomic<bool> drain_requested_{};
  std::atomic<bool> settings_pending_{};
  Mutex settings_mutex_;
  std::optional<LoopSettings> settings_ GUARDED_BY(settings_mutex_);
  std::optional<PolicyChange> policy_change_ GUARDED_BY(settings_mutex_);
  std::shared_ptr<const policy::Policy> latest_policy_ GUARDED_BY(settings_mutex_);
  std::uint64_t policies_set_ GUARDED_BY(settings_mutex_){};
  std::uint64_t policies_applied_ GUARDED_BY(settings_mutex_){};
  CondVar policy_applied_;
};

Loop::Impl::Impl(BackplaneConfig config, SnapshotBoard& board, int descriptors_max)
    : config_(std::move(config)),
      board_(board),
      state_(config_.name, config_.max_topics, config_.max_sessions, make_store(config_)),
      ingress_(*context_, zmq::socket_type::xsub, ingress_options(config_, ingress_domain)),
      control_(*context_, zmq::socket_type::router, control_options(config_)),
      egress_(*context_, state_.counters),
      access_(config_.admission.required() ? config_.admission.policy : nullptr),
      pipeline_(state_, access_, egress_, unix_now_ns, make_log(config_, access_)),
      participants_([this](const std::string& topic, const v1::SourceStatus& status) {
        publish_source_status(topic, status);
      }),
      service_(state_, access_, participants_, types_, pipeline_.log(), *this, [this] { drain(); }),
      each_second_(1s, Clock::now()),
      stats_(config_.stats_every, Clock::now()),
      snapshots_(snapshot_every, Clock::now()) {
  if (config_.raw != off) {
    raw_.emplace(*context_, zmq::socket_type::xsub, ingress_options(config_, raw_domain));
  }
  state_.max_event_bytes = config_.max_event_bytes;
  if (config_.log != LogKind::local) {
    cluster_.emplace(state_, access_, pipeline_, participants_, types_,
                     dynamic_cast<ReplicatedLog&>(pipeline_.log()));
    pipeline_.set_on_types([this](std::span<const std::byte> set, bool is_own) {
      service_.register_types({reinterpret_cast<const char*>(set.data()), set.size()}, is_own);
    });
  }
  if (config_.store == StoreKind::file) {
    state_.store_kind = "file";
    state_.store_sync = config_.store_sync;
  }
  state_.insecure = config_.insecure;
  ingress_connections_ = watch(ingress_, EndpointRule(std::string(ingress_domain)), descriptors_max);
  control_connections_ = watch(control_, EndpointRule(std::string(control_domain)), descriptors_max);
  if (raw_) raw_connections_ = watch(*raw_, EndpointRule(std::string(raw_domain)), descriptors_max);
  for (EgressEndpoint& each : egress_endpoints(config_)) {
    const std::string domain = egress_domain(egress_.size());
    Egress& egress = egress_.add({.send_hwm = config_.egress_hwm, .curve = curve_of(config_, domain)},
                                 with_topics_for_everyone(each.topics));
    egress_connections_.push_back(
        watch(egress.socket(), EndpointRule(domain, std::move(each.topics)), descriptors_max));
    egress_connections_.back()->report_closed_to(egress.ledger());
  }
  if (config_.serves_own_process) add_local_sockets();
  if (config_.admission.required()) {
    zap_.emplace(*context_, config_.name, rules_, config_.admission.policy);
    state_.policy_users = users_with_keys(*config_.admission.policy);
    const MutexLock lock(settings_mutex_);
    latest_policy_ = config_.admission.policy;
  }
  release_sockets();  // created on one thread, perhaps opened on another
}

void Loop::Impl::add_local_sockets() {
  local_ingress_.emplace(*context_, zmq::socket_type::xsub, local_ingress_options(config_));
  local_control_.emplace(*context_, zmq::socket_type::router, local_control_options());
  egress_.add({.send_hwm = config_.egress_hwm}, {});
  egress_connections_.push_back(nullptr);
}

ConnectionWatch* Loop::Impl::watch(mq::Socket& socket, EndpointRule rule, int descriptors_max) {
  auto& added =
      connections_.emplace_back(std::make_unique<ConnectionWatch>(*context_, socket, descriptors_max));
  if (config_.admission.required()) added->set_rule(rule, config_.admission.policy);
  rules_.push_back(std::move(rule));
  return added.get();
}

void Loop::Impl::release_sockets() noexcept {
  ingress_.release();
  control_.release();
  for (std::size_t i = 0; i < egress_.size(); ++i) egress_.endpoint(i).socket().release();
  if (raw_) raw_->release();
  if (local_ingress_) local_ingress_->release();
  if (local_control_) local_control_->release();
  for (const auto& each : connections_) each->release();
}

// ── opening ──────────────────────────────────────────────────────────────────────────────────────────────

Result<BoundEndpoints> Loop::Impl::open() {
  const auto bind = [](auto& socket, const std::string& endpoint, std::string& bound) -> Result<void> {
    auto result = socket.bind(endpoint);
    if (!result) return tl::unexpected(result.error());
    bound = *result;
    return {};
  };
  // Ingress comes last: a publisher that can connect can be served at once.
  std::vector<std::string> egress_bound;
  for (const EgressEndpoint& each : egress_endpoints(config_)) {
    Egress& egress = egress_.endpoint(egress_bound.size());
    if (auto ok = bind(egress, each.endpoint, egress_bound.emplace_back()); !ok)
      return tl::unexpected(ok.error());
  }
  bound_.egress = egress_bound.front();
  bound_.limited_egress.assign(egress_bound.begin() + 1, egress_bound.end());
  if (auto ok = bind(control_, config_.control, bound_.control); !ok) return tl::unexpected(ok.error());
  if (raw_) {
    if (auto ok = bind(*raw_, config_.raw, bound_.raw); !ok) return tl::unexpected(ok.error());
  }
  if (auto ok = bind(ingress_, config_.ingress, bound_.ingress); !ok) return tl::unexpected(ok.error());
  if (local_ingress_) {
    if (auto ok = open_local_sockets(); !ok) return tl::unexpected(ok.error());
  }

  if (cluster_) {
    bound_.member = member_name(config_, bound_.ingress);
    auto ok = cluster_->open(config_, bound_.member, make_stream(config_, bound_.ingress));
    if (!ok) return tl::unexpected(ok.error());
  } else {
    if (auto ok = restore(); !ok) return tl::unexpected(ok.error());
    open_ingress();
  }
  state_.started_ns = unix_now_ns();
  opened_ = Clock::now();
  publish_snapshot();
  release_sockets();
  return bound_;
}

Result<void> Loop::Impl::open_local_sockets() {
  if (auto ok = egress_.endpoint(egress_.size() - 1).bind(local_egress); !ok)
    return tl::unexpected(ok.error());
  if (auto ok = local_control_->bind(local_control); !ok) return tl::unexpected(ok.error());
  return local_ingress_->bind(local_ingress).map([](const std::string&) {});
}

/// Subscribes to everything: history and retained values then see every event, and a publisher knows by this
/// subscription that it is connected.
void Loop::Impl::open_ingress() {
  constexpr std::string_view everything("\x01", 1);
  const bool subscribed = ingress_.send(everything) && (!raw_ || raw_->send(everything)) &&
                          (!local_ingress_ || local_ingress_->send(everything));
  CHECK(subscribed, "an XSUB without a send limit accepts a subscription");
}

/// Reads what is in the log. Until then nobody is served, and publishers and readers stay with other brokers.
void Loop::Impl::catch_up() {
  while (!cluster_->is_ready() && !state_.draining) {
    const std::uint64_t before = cluster_->index();
    static_cast<void>(pipeline_.flush());
    const Clock::time_point now = Clock::now();
    cluster_->turn(now);
    keep_time(now);
    if (cluster_->index() != before || cluster_->is_ready()) continue;
    std::array<zmq_pollitem_t, 3> items{};
    int count = 0;
    for (const int fd : {pipeline_.log().progress_fd(), wake_.fd(), state_.history->progress_fd()}) {
      if (fd >= 0) items[static_cast<std::size_t>(count++)] = {nullptr, fd, ZMQ_POLLIN, 0};
    }
    zmq_poll(items.data(), count, log_retry_poll.count());
    wake_.drain();
  }
  opened_ = Clock::now() - cluster_->stream_age();
  publish_snapshot();
  open_ingress();
}

/// Continues where an earlier incarnation stopped, as far as the store remembers it.
Result<void> Loop::Impl::restore() {
  const auto opened = state_.history->open(make_stream(config_, bound_.ingress));
  if (!opened) {
    const Error& error = opened.error();
    const bool is_about_place =
        error.code == ErrorCode::invalid_argument || error.code == ErrorCode::exhausted;
    if (!is_about_place || config_.store_place.empty()) return tl::unexpected(error);
    return fail(error.code, fmt::format("{}: {}", config_.store_place, error.text));
  }
  state_.history->expire(unix_now_ns());
  state_.stream = opened->stream;
  state_.position = state_.start_position = opened->position;
  const std::uint64_t stored = state_.history->figures().events;
  state_.missing_at_start = state_.position - std::min(stored, state_.position);
  std::uint64_t offsets = 0;
  for (const HistoryStore::Tail& tail : opened->tails) {
    offsets += tail.offset;
    TopicEntry* entry = state_.topics.find_or_add(tail.topic);
    if (entry == nullptr)
      return fail(ErrorCode::exhausted, "cannot open the store: it has more topics than max_topics");
    entry->position = tail.position;
    entry->offset = tail.offset;
    entry->bytes = tail.bytes;
    entry->received_ns = tail.received_ns;
    state_.topics.touched(*entry);
    if (tail.topic.starts_with(source_topic_prefix)) ++state_.source_topics;
  }
  state_.offsets_without_position = offsets - std::min(offsets, opened->position);
  for (const HistoryStore::Session& each : opened->sessions) {
    bool is_new = false;
    SessionEntry& entry = state_.sessions.use(each.source, each.session, is_new);
    entry.sequence = each.sequence;
    if (access_.has_policy() && !each.user.empty()) entry.user = access_.number_of_name(each.user);
  }
  if (opened->continues) {
    log::info("{}: continues its stream after position {}: {} events of {} topics in history", state_.name,
              opened->position, stored, opened->tails.size());
  }
  for (const std::string& set : opened->types) {
    if (const auto added = types_.add(set); added.refusal != TypeRegistry::Refusal::none) {
      log::warning("{}: cannot use stored types: {}", state_.name, added.text);
    }
  }
  return {};
}

// ── the loop ─────────────────────────────────────────────────────────────────────────────────────────────

void Loop::Impl::run() {
  if (cluster_) catch_up();
  last_event_ = Clock::now();
  Clock::time_point next_full_poll{};
  bool poll_all = true;  // whether this turn polls all sockets
  for (;;) {
    ++state_.counters.turns_total;
    // A slow store delays the data path, and through it the publishers. Nothing is lost.
    bool store_accepts = pipeline_.flush();
    service_.poll();
    const int received = store_accepts ? take_events(poll_all) : 0;
    int done = received;
    store_accepts = pipeline_.flush();
    if (cluster_) cluster_->turn(last_event_);
    if (service_.pending() > 0) service_.poll();  // what waited for these events
    poll_all = poll_all || received == 0;
    if (poll_all) done += serve_subscriptions();

    Clock::time_point now = Clock::now();
    // Requests do not count: a client that sends them continuously would delay the drain.
    if (received > 0 || !store_accepts) last_event_ = now;
    service_.set_busy(now - last_event_ < idle_before_long_slices);
    if (poll_all) {
      const int served = serve_requests(done == 0 ? requests_per_idle_turn : requests_per_busy_turn, now);
      const Clock::time_point before = now;
      if (served > 0) now = Clock::now();
      done += served;
      next_full_poll = now + std::max<Clock::duration>(full_poll_interval, event_time_ratio * (now - before));
    }
    keep_time(now);
    if (state_.draining && drained(now)) break;
    if (done == 0) sleep(now, store_accepts);
    poll_all = done == 0 || now >= next_full_poll;
  }
  end();
  connections_.clear();  // on the thread that owns the sockets
}

int Loop::Impl::take_events(bool all) {
  const int received = drain_socket(ingress_, From::ingress);
  int total = received;
  const auto take_from = [&](std::optional<mq::Socket>& socket, From from, bool& flows) {
    if (!socket || !(all || flows || received == 0)) return;
    const int taken = drain_socket(*socket, from);
    flows = taken > 0;
    total += taken;
  };
  take_from(raw_, From::raw, raw_flows_);
  take_from(local_ingress_, From::local, local_flows_);
  return total;
}

int Loop::Impl::drain_socket(mq::Socket& socket, From from) {
  // Receive some messages ahead: their bytes move from the I/O thread's cache while others are processed.
  int total = 0;
  std::size_t bytes = 0;
  for (bool there = true; there && total < messages_per_turn && bytes < bytes_per_turn;) {
    std::size_t received = 0;
    while (received < incoming_.size() && bytes < bytes_per_turn &&
           (there = receive(socket, incoming_[received]))) {
      bytes += incoming_[received++].bytes;
    }
    if (zap_) note_connections(from, received);
    std::array<TopicEntry*, messages_ahead> known;
    for (std::size_t i = 0; i < received; ++i) {
      known[i] = pipeline_.find_topic(incoming_[i].topic.to_string_view());
    }
    for (std::size_t i = 0; i < received; ++i) {
      Incoming& message = incoming_[i];
      take(message, known[i], from);
      if (message.bytes > reused_frame_bytes_max) {
        message.topic.rebuild();
        message.event.rebuild();
      }
    }
    total += static_cast<int>(received);
  }
  // While there are messages, libzmq looks only once per 100 frames whether other peers have sent any. Of
  // large events, that is 50 ms.
  if (bytes >= bytes_per_turn) (void)socket.readable();
  return total;
}

/// Notes whose connections the messages in incoming_ came by.
void Loop::Impl::note_connections(From from, std::size_t received) {
  if (from == From::local) return;
  ConnectionWatch& connections = from == From::raw ? *raw_connections_ : *ingress_connections_;
  for (std::size_t i = 0; i < received; ++i) connections.saw(incoming_[i].topic);
}

void Loop::Impl::take(Incoming& message, TopicEntry* known, From from) {
  if (message.frames != 2) return pipeline_.refuse_frames(message.frames);
  const policy::User* const user = from == From::local ? access_.own_user() : access_.user_of(message.event);
  if (from == From::raw) return pipeline_.take_raw(message.topic, message.event, user);
  pipeline_.take(message.topic, message.event, known, user);
}

bool Loop::Impl::receive(mq::Socket& socket, Incoming& message) {
  if (!socket.receive(message.topic)) return false;
  message.frames = 1;
  message.bytes = message.topic.size();
  if (message.topic.more() && socket.receive(message.event)) {
    message.frames = 2;
    if (message.event.more()) {
      zmq::message_t rest;
      for (bool more = true; more && socket.receive(rest); more = rest.more()) ++message.frames;
    }
    const std::size_t event_bytes = message.event.size();
    prefetch_lines(message.event.data(), event_bytes);
    message.bytes += event_bytes;
  }
  return true;
}

int Loop::Impl::serve_subscriptions() {
  int seen = 0;
  for (std::size_t i = 0; i < egress_.size(); ++i) {
    seen += serve_subscriptions(egress_.endpoint(i), egress_connections_[i]);
  }
  if (seen > 0) egress_.bound_subscriptions(config_.subscriptions_bytes_max);
  return seen;
}

int Loop::Impl::serve_subscriptions(Egress& egress, ConnectionWatch* connections) {
  int seen = 0;
  const auto until = Clock::now() + subscription_time_per_turn;
  while (seen < subscriptions_per_turn &&
         (seen % subscriptions_per_look != 0 || seen == 0 || Clock::now() < until)) {
    const auto subscription = egress.next_subscription();
    if (!subscription) break;
    // Subscriptions come once per connection: one that has closed must not be mistaken for a new one.
    if (seen == 0 && connections != nullptr) connections->turn(Clock::now());
    if (zap_ && connections != nullptr) connections->saw(subscription->message);
    ++seen;
    if (!subscription->begins || !is_live_request(subscription->prefix)) continue;
    v1::LiveAnswer reply;
    reply.set_backplane(state_.name);
    reply.set_age_ns(static_cast<std::uint64_t>((Clock::now() - opened_).count()));
    pipeline_.publish_unnumbered(subscription->prefix, system_event(state_.name, reply, unix_now_ns()));
    ++state_.counters.live_replies_total;
  }
  return seen;
}

int Loop::Impl::serve_requests(int limit, Clock::time_point now) {
  int served = 0;
  const auto serve = [&](mq::Socket& socket, From from) {
    const int before = served;
    while (served - before < limit && (served == before || Clock::now() - now < reply_time_per_turn) &&
           serve_request(socket, from, now)) {
      ++served;
    }
  };
  serve(control_, From::ingress);
  if (local_control_) serve(*local_control_, From::local);
  service_.poll();
  return served;
}

/// @returns whether there was a request.
bool Loop::Impl::serve_request(mq::Socket& socket, From from, Clock::time_point now) {
  if (!socket.receive(request_)) return false;
  Envelope envelope{std::string(from == From::local ? local_client : network_client)};
  std::size_t frames = 1;
  while (request_.more()) {
    if (envelope.size() <= envelope_frames_max) envelope.emplace_back(request_.to_string_view());
    ++frames;
    if (!socket.receive(request_)) break;
  }
  if (frames < 2 || frames > envelope_frames_max + 1) {
    ++state_.counters.control_requests_total;
    ++state_.counters.control_refused_total;
    return true;  // there is no return address
  }
  if (zap_ && from != From::local) control_connections_->saw(request_);
  service_.request(std::move(envelope), {request_.data<std::byte>(), request_.size()}, now,
                   from == From::local ? access_.own_sender() : access_.sender_of(request_));
  return true;
}

void Loop::Impl::reply(const Envelope& envelope, std::string_view bytes) {
  constexpr auto more_now = zmq::send_flags::sndmore | zmq::send_flags::dontwait;
  mq::Socket& socket = envelope.front() == local_client ? *local_control_ : control_;
  // A reply is refused at its first frame or not at all: the client has gone, or does not read its replies.
  for (std::size_t i = 1; i < envelope.size(); ++i) {
    if (!socket.send(envelope[i], more_now) && i == 1) {
      ++state_.counters.control_replies_dropped_total;
      return;
    }
  }
  if (!socket.send(bytes, zmq::send_flags::dontwait)) ++state_.counters.control_replies_dropped_total;
}

void Loop::Impl::keep_time(Clock::time_point now) {
  take_settings(now);
  if (drain_requested_.load(std::memory_order_acquire) && !state_.draining) begin_drain(now);
  if (snapshots_.due(now)) {
    watch_store();
    if (cluster_) {
      watch_log(now);
      state_.cluster = cluster_->report(now);
    }
    publish_snapshot();
  }
  if (each_second_.due(now)) {
    participants_.expire(now);
    if (cluster_) cluster_->each_second(now);
    // The clocks of other brokers have stamped their events.
    state_.history->expire(cluster_ ? cluster_->stream_time_ns() : unix_now_ns());
    watch_subscriptions();
    egress_.begin_second();
  }
  if (now >= next_connections_) watch_connections(now);
  if (stats_.due(now)) {
    v1::BrokerStats stats;
    stats.set_backplane(state_.name);
    for (const auto& [name, value] : named_counters(snapshot())) (*stats.mutable_counters())[name] = value;
    pipeline_.publish_system(stats_topic(state_.name), system_event(state_.name, stats, unix_now_ns()));
  }
}

/// While the store takes no events, those that wait on the sockets do not end the sleep.
void Loop::Impl::sleep(Clock::time_point now, bool takes_events) {
  // Events that the timers have published are flushed first.
  if (takes_events && pipeline_.pending() > pipeline_.writing()) return;
  // Others read the progress too, after which the descriptor no longer shows it.
  if (pipeline_.has_written()) return;
  auto until = std::min({each_second_.next(), stats_.next(), next_connections_});
  if (state_.draining) until = std::min(until, now + idle_before_drained / 4);
  if (cluster_ && !cluster_->is_idle()) until = std::min<Clock::time_point>(until, now + log_retry_poll);
  std::array<zmq_pollitem_t, 8 + EgressGroup::endpoints_max> items{};
  std::size_t count = 0;
  const auto watch_socket = [&](mq::Socket& socket) {
    items[count++] = {.socket = socket.raw().handle(), .fd = 0, .events = ZMQ_POLLIN, .revents = 0};
  };
  const auto watch_fd = [&](int fd) {
    items[count++] = {.socket = nullptr, .fd = fd, .events = ZMQ_POLLIN, .revents = 0};
  };
  const auto watch_publishers = [&](mq::Socket& socket) {
    if (takes_events) return watch_socket(socket);
    // libzmq greets new publishers here. Then the descriptor shows when there is more to do.
    static_cast<void>(socket.readable());
    watch_fd(socket.fd());
  };
  watch_publishers(ingress_);
  if (raw_) watch_publishers(*raw_);
  if (local_ingress_) watch_publishers(*local_ingress_);
  watch_socket(control_);
  if (local_control_) watch_socket(*local_control_);
  for (std::size_t i = 0; i < egress_.size(); ++i) watch_socket(egress_.endpoint(i).socket());
  watch_fd(wake_.fd());
  if (const int fd = state_.history->progress_fd(); fd >= 0) watch_fd(fd);
  if (const int fd = pipeline_.log().progress_fd(); fd >= 0) watch_fd(fd);

  zmq_poll(items.data(), static_cast<int>(count), poll_timeout(until, now));
  wake_.drain();  // the flags it stands for are read every turn
}

void Loop::Impl::publish_source_status(const std::string& topic, const v1::SourceStatus& status) {
  const SourceChange change{.session = status.session(), .up = status.up()};
  if (pipeline_.publish_source(topic, system_event(state_.name, status, unix_now_ns()), change)) return;
  if (!source_lines_.allow(Clock::now())) return;
  log::warning("{}: $SYS.source topics: limit of {} reached (max_topics / 8); {} is not announced",
               state_.name, state_.source_topics_max(), topic);
}

// ── settings, figures ────────────────────────────────────────────────────────────────────────────────────

void Loop::Impl::take_settings(Clock::time_point now) {
  if (!settings_pending_.load(std::memory_order_acquire)) return;
  std::optional<LoopSettings> settings;
  std::optional<PolicyChange> policy_change;
  {
    const MutexLock lock(settings_mutex_);
    settings = std::exchange(settings_, std::nullopt);
    policy_change = std::exchange(policy_change_, std::nullopt);
    settings_pending_.store(false, std::memory_order_release);
  }
  if (policy_change) {
    apply_policy(*policy_change);
    const MutexLock lock(settings_mutex_);
    policies_applied_ = policy_change->number;
    policy_applied_.notify_all();
  }
  if (!settings) return;
  state_.history->set_limits(std::move(settings->history));
  config_.stats_every = settings->stats_every;
  config_.max_subscriptions_warning = settings->max_subscriptions_warning;
  stats_.set_period(settings->stats_every, now);
}

/// New connections are admitted by the policy already.
void Loop::Impl::apply_policy(const PolicyChange& change) {
  access_.set_policy(change.policy);
  UserNames users;
  for (std::size_t i = 0; i < connections_.size(); ++i) {
    connections_[i]->set_policy(change.policy, change.to_disconnect[i]);
    users.insert(change.to_disconnect[i].begin(), change.to_disconnect[i].end());
  }
  state_.policy_users = users_with_keys(*change.policy);
  if (users.empty()) return;
  const auto logged_end =
      std::next(users.begin(), static_cast<std::ptrdiff_t>(std::min(users.size(), logged_users_max)));
  log::info("{}: {} users may no longer connect, or not everywhere, or have lost a key: {}{}", state_.name,
            users.size(), fmt::join(users.begin(), logged_end, ", "), logged_end == users.end() ? "" : ", …");
}

/// A store that is full accepts events again when there is room. One that has failed ends the backplane: what
/// it has confirmed is safe, and a restart shows what else is.
void Loop::Impl::watch_store() {
  const HistoryStore::Condition condition = state_.history->condition();
  if (condition.health == HistoryStore::Health::failed) {
    throw std::runtime_error(fmt::format("the store has failed: {}", condition.text));
  }
  const bool full = condition.health == HistoryStore::Health::full;
  if (full && !store_was_full_) {
    log::error("{}: the store is full: {}; publishers wait until there is room", state_.name, condition.text);
  } else if (!full && store_was_full_) {
    log::info("{}: the store has room again", state_.name);
  }
  store_was_full_ = full;
}

/// A log that accepts nothing for a while is waited for. One that has failed stays: history is served, and a
/// person has to decide.
void Loop::Impl::watch_log(Clock::time_point now) {
  const std::string fault = cluster_->is_ready() ? cluster_->fault() : std::string();
  if (!fault.empty() && (log_fault_.empty() || log_lines_.allow(now))) {
    log::error("{}: the log accepts no events: {}; publishers wait", state_.name, fault);
  } else if (fault.empty() && !log_fault_.empty()) {
    log::info("{}: the log accepts events again", state_.name);
  }
  log_fault_ = fault;
}

void Loop::Impl::watch_subscriptions() {
  const std::uint64_t now = state_.counters.subscriptions_total - state_.counters.unsubscriptions_total;
  const bool above = now > config_.max_subscriptions_warning;
  if (above && !subscriptions_warned_) {
    log::warning("{}: {} subscriptions, above max_subscriptions_warning ({})", state_.name, now,
                 config_.max_subscriptions_warning);
  }
  subscriptions_warned_ = above;
}

void Loop::Impl::watch_connections(Clock::time_point now) {
  std::uint64_t failed = 0;
  std::uint64_t refused = 0;
  std::uint64_t revoked = 0;
  bool more = false;
  for (const auto& each : connections_) {
    more = each->turn(now, connection_events_per_turn) || more;
    failed += each->failed_handshakes();
    refused += each->refused();
    revoked += each->revoked();
  }
  if (revoked > state_.counters.connections_revoked_total && revoked_lines_.allow(now)) {
    log::warning("{}: closed {} connections of users who may no longer connect", state_.name,
                 revoked - state_.counters.connections_revoked_total);
  }
  state_.counters.connections_revoked_total = revoked;
  if (zap_) {
    const ZapServer::Counts counts = zap_->counts();
    state_.counters.connections_admitted_total = counts.admitted;
    state_.counters.connections_unknown_key_total = counts.unknown_key;
    state_.counters.connections_not_permitted_total = counts.not_permitted;
  }
  // While connections are refused, more may wait, and libzmq spins until they are accepted.
  next_connections_ = now + (more                                                  ? 1ms
                             : refused > state_.counters.connections_refused_total ? 20ms
                                                                                   : 1000ms);
  if (refused > state_.counters.connections_refused_total && refused_lines_.allow(now)) {
    log::warning("{}: limit of open files reached: closed {} connections; raise it with ulimit -n",
                 state_.name, refused - state_.counters.connections_refused_total);
  }
  state_.counters.connections_refused_total = refused;
  if (failed > state_.counters.handshakes_failed_total && handshake_lines_.allow(now)) {
    log::warning(
        "{}: closed {} connections that {}", state_.name, failed - state_.counters.handshakes_failed_total,
        zap_ ? "did not complete the CURVE handshake, refused ones included" : "did not speak ZMTP 3");
  }
  state_.counters.handshakes_failed_total = failed;
}

BackplaneSnapshot Loop::Impl::snapshot() const {
  return take_snapshot(state_, participants_);
}

void Loop::Impl::publish_snapshot() {
  BackplaneSnapshot current = snapshot();
  if (cluster_) current.log_fault = cluster_->fault();
  board_.publish(std::move(current));
}

// ── the end ──────────────────────────────────────────────────────────────────────────────────────────────

void Loop::Impl::begin_drain(Clock::time_point now) {
  state_.draining = true;  // every reply to a publisher says so from now on
  drain_began_ = now;
  last_event_ = now;
  // The sockets stay bound: when libzmq 4.3.4 unbinds, it closes the listener's connections, and events still
  // in the kernel are lost (of 100,000 events 30,000 to 80,000 arrived).
  publish_snapshot();
}

bool Loop::Impl::drained(Clock::time_point now) const {
  const bool is_idle = now - last_event_ >= idle_before_drained;
  const bool is_applied = !cluster_ || !cluster_->is_ready() || cluster_->is_idle();
  return (is_idle && is_applied) || now - drain_began_ >= config_.drain_limit / 2;
}

template <class Condition>
void Loop::Impl::flush_until(Clock::time_point deadline, const Condition& is_done) {
  for (;;) {
    static_cast<void>(pipeline_.flush());
    if (is_done() || Clock::now() >= deadline) return;
    std::array<zmq_pollitem_t, 2> items{
        zmq_pollitem_t{
            .socket = nullptr, .fd = state_.history->progress_fd(), .events = ZMQ_POLLIN, .revents = 0},
        zmq_pollitem_t{
            .socket = nullptr, .fd = pipeline_.log().progress_fd(), .events = ZMQ_POLLIN, .revents = 0}};
    zmq_poll(items.data(), static_cast<int>(items.size()), 10);
  }
}

void Loop::Impl::end() {
  const auto deadline = drain_began_ + config_.drain_limit;
  const bool is_member = cluster_ && cluster_->is_ready();
  const auto is_published = [this] { return pipeline_.pending() == 0; };
  // The notice has no number then: it comes after the last event.
  if (is_member) flush_until(deadline, [&] { return cluster_->is_idle() && is_published(); });
  v1::DrainNotice notice;
  notice.set_backplane(state_.name);
  pipeline_.publish_system(drain_topic, system_event(state_.name, notice, unix_now_ns()));
  flush_until(deadline, is_published);
  if (is_member) {
    cluster_->log().leave();
    flush_until(std::min<Clock::time_point>(deadline, Clock::now() + leave_limit),
                [&] { return cluster_->log().has_left(); });
  }
  publish_snapshot();
  // Subscribers have the rest of the limit to read what is queued; closing waits for them in the context.
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
  egress_.set_linger(std::max(left, std::chrono::milliseconds{0}));
  log::info("{}: drained at position {}", state_.name, state_.position);
}

void Loop::Impl::wake() noexcept {
  wake_.wake();
}

void Loop::Impl::drain() noexcept {
  drain_requested_.store(true, std::memory_order_release);
  wake();
}

void Loop::Impl::reload(LoopSettings settings) {
  {
    const MutexLock lock(settings_mutex_);
    settings_ = std::move(settings);
    settings_pending_.store(true, std::memory_order_release);
  }
  wake();
}

void Loop::Impl::set_policy(std::shared_ptr<const policy::Policy> policy) {
  CHECK(zap_.has_value(), "only a policy can be replaced by another");
  zap_->set_policy(policy);
  {
    const MutexLock lock(settings_mutex_);
    if (!policy_change_)
      policy_change_ = PolicyChange{.to_disconnect = std::vector<UserNames>(rules_.size())};
    for (std::size_t i = 0; i < rules_.size(); ++i) {
      policy_change_->to_disconnect[i].merge(users_to_disconnect(rules_[i], *latest_policy_, *policy));
    }
    policy_change_->policy = latest_policy_ = std::move(policy);
    policy_change_->number = ++policies_set_;
    settings_pending_.store(true, std::memory_order_release);
  }
  wake();
  const MutexLock lock(settings_mutex_);
  const auto until = Clock::now() + policy_limit;
  while (policies_applied_ < policies_set_ && policy_applied_.wait_until(settings_mutex_, until)) {
  }
}

Loop::Loop(BackplaneConfig config, SnapshotBoard& board, int descriptors_max)
    : impl_(std::make_unique<Impl>(std::move(config), board, descriptors_max)) {}
Loop::~Loop() = default;
Result<BoundEndpoints> Loop::open() {
  return impl_->open();
}
LocalEndpoints Loop::local() const {
  return impl_->local();
}
void Loop::run() {
  impl_->run();
}
void Loop::drain() noexcept {
  impl_->drain();
}
void Loop::reload(LoopSettings settings) {
  impl_->reload(std::move(settings));
}
void Loop::set_policy(std::shared_ptr<const policy::Policy> policy) {
  impl_->set_policy(std::move(policy));
}

}  // namespace backplane::broker
