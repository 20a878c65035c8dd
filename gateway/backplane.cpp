#include "gateway/backplane.hpp"

#include <algorithm>
#include <atomic>
#include <ctime>
#include <map>
#include <set>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "core/log/log.hpp"
#include "core/metrics/exposition.hpp"
#include "core/net/loopback.hpp"
#include "core/thread/mutex.hpp"
#include "core/topic/pattern.hpp"
#include "fanout/engine.hpp"
#include "fanout/listeners.hpp"
#include "follower/broker_group.hpp"
#include "follower/control/type_fetcher.hpp"
#include "gateway/hub/hub.hpp"
#include "gateway/operations/pages.hpp"
#include "gateway/poller.hpp"
#include "gateway/protocols/detection/first_line_session.hpp"
#include "gateway/protocols/feed/feed_session.hpp"
#include "gateway/protocols/http/message.hpp"
#include "gateway/protocols/http_server/site.hpp"
#include "gateway/protocols/mqtt/mqtt_session.hpp"
#include "gateway/request_pace.hpp"
#include "gateway/session/first_line.hpp"
#include "gateway/session/notice.hpp"
#include "gateway/upstream/broker_publisher.hpp"
#include "gateway/upstream/publish_gate.hpp"

namespace backplane::gateway {
namespace {

using namespace std::chrono_literals;
using Clock = Backplane::Clock;

// Turns of the follower, of some hundred events each, before clients' requests are read again.
constexpr int follower_turns = 4;
// A flood of requests does not keep events waiting.
// Events wait no longer than this for clients that send requests without a pause, and for those that leave.
constexpr auto requests_time_per_turn = 500us;
constexpr std::size_t requests_per_look = 16;  // at the clock
constexpr auto removing_per_turn = 1ms;
constexpr auto tick_interval = 1s;
// A type may be registered after its first event.
constexpr auto types_retry_interval = 2s;
// Events of one broker that were received and have yet to be encoded.
constexpr std::size_t queue_bytes_max = 256u << 20;
// Texts of PUBs that wait for a broker.
constexpr std::size_t waiting_bytes_max = 64u << 20;

std::size_t worker_count(std::size_t configured) {
  if (configured > 0) return configured;
  const unsigned cores = std::thread::hardware_concurrency();
  return cores > 1 ? cores - 1 : 1;  // one for the upstream thread
}

/// The certificates in use. Any thread.
class CurrentTls {
 public:
  explicit CurrentTls(std::shared_ptr<const fanout::TlsContext> context) : context_(std::move(context)) {}
  void set(std::shared_ptr<const fanout::TlsContext> context) {
    const MutexLock lock(mutex_);
    context_ = std::move(context);
  }
  [[nodiscard]] std::shared_ptr<const fanout::TlsContext> get() const {
    const MutexLock lock(mutex_);
    return context_;
  }

 private:
  mutable Mutex mutex_;
  std::shared_ptr<const fanout::TlsContext> context_ GUARDED_BY(mutex_);
};

fanout::TlsOptions tls_options(const GatewayConfig& config,
                               std::shared_ptr<const fanout::TlsContext> context) {
  fanout::TlsOptions options;
  options.context = std::move(context);
  options.required = config.tls_required.value_or(true);
  options.handshakes_max = (config.tls_handshakes_max - 1) / worker_count(config.workers) + 1;
  options.handshake_timeout = config.tls_handshake_timeout;
  return options;
}

fanout::EngineOptions engine_options(const GatewayConfig& config, fanout::TlsOptions tls) {
  fanout::EngineOptions options;
  options.workers = worker_count(config.workers);
  options.worker.tls = std::move(tls);
  options.worker.flush_window = config.flush_window;
  options.worker.unsent_bytes_max = static_cast<int>(config.unsent_bytes_max);
  options.worker.shard.client.backlog_bytes_max = config.backlog_bytes_max;
  options.worker.shard.first_byte_timeout = config.first_byte_timeout;
  options.worker.shard.idle_timeout = config.idle_timeout;
  options.worker.shard.linger = config.goodbye_limit;
  options.log.bytes_max = config.backlog_total_bytes_max;
  options.worker.shard.replies_total_bytes_max = config.backlog_total_bytes_max / options.workers;
  return options;
}

fanout::ListenersOptions listeners_options(const GatewayConfig& config, const DescriptorBudget& descriptors) {
  fanout::ListenersOptions options;
  options.connections_max = config.connections_max;
  options.connections_per_address_max = config.connections_per_address_max;
  options.descriptors_max = descriptors.clients_end;
  options.refused_max = descriptors.refused_max;
  return options;
}

BrokerGroup::Options reader_options(const GatewayConfig& config, const BackplaneConfig& backplane,
                                    const std::string& name) {
  BrokerGroup::Options options;
  options.brokers = backplane.endpoints();
  for (BrokerEndpoints& each : options.brokers) each.keys = config.keys;
  options.follower.name = name;
  options.follower.role = Follower::Role::gateway;
  options.follower.max_event_bytes = config.max_event_bytes;
  options.follower.queue_bytes_max = queue_bytes_max;
  return options;
}

HubLimits hub_limits(const GatewayConfig& config) {
  HubLimits limits;
  limits.subscriptions_per_client_max = config.subscriptions_per_client_max;
  limits.subscriptions_max = config.subscriptions_max;
  limits.prefixes_max = config.prefixes_max;
  limits.values_bytes_max = config.values_bytes_max;
  return limits;
}

http::SiteOptions site_options(const GatewayConfig& config, const CurrentTls& tls) {
  http::SiteOptions options;
  options.limits = {config.http_header_bytes_max, config.max_event_bytes};
  options.request_timeout = config.http_request_timeout;
  options.hosts = config.hosts;
  options.cors_origins = config.cors_origins;
  if (tls.get()) options.is_certified = [&tls](std::string_view host) { return tls.get()->has_name(host); };
  return options;
}

http::SitePages site_pages(const GatewayConfig& config, const FiguresBoard& board,
                           const std::string& backplane) {
  return {.metrics = [&] { return metrics_page(config, board); },
          .why_not_ready = [&] { return why_not_ready(config, board); },
          .status = [&board, backplane](
                        const Rights* rights) { return status_json(board.latest(), backplane, rights); },
          .ready_note = std::string(config.insecure_note())};
}

/// PLAIN has a name and a password: without a policy, nobody could verify them.
zmtp::Connection::Options zmtp_options(const GatewayConfig& config, bool has_policy) {
  zmtp::Connection::Options options;
  options.plain = has_policy;
  // Larger events are refused one by one, as at the broker: only much larger ones end the connection.
  options.limits.frame_bytes_max = 4 * config.max_event_bytes;
  options.limits.message_bytes_max = options.limits.frame_bytes_max + 4096;
  return options;
}

// What a TLS client is told before its handshake: a fatal alert, internal_error.
constexpr std::string_view tls_alert("\x15\x03\x03\x00\x02\x02\x50", 7);
// In seconds. Connections end at any time.
constexpr std::string_view retry_after = "5";

http::Response refusal_response(std::string_view reason) {
  http::Response response = http::problem(503, reason,
                                          reason == "too_many_connections"
                                              ? "the limit of connections is reached"
                                              : "the limit of connections from one address is reached");
  response.fields.emplace_back("Retry-After", retry_after);
  return response;
}

}  // namespace

class Backplane::Impl final : public PublishListener {
 public:
  Impl(const GatewayConfig& gateway, const BackplaneConfig& backplane, const std::string& name,
       const DescriptorBudget& descriptors, const FiguresBoard& board,
       std::shared_ptr<const fanout::TlsContext> tls, const std::shared_ptr<const policy::Policy>& policy,
       Authenticator* authenticator)
      : gateway_(gateway),
        config_(backplane),
        tls_(std::move(tls)),
        site_(site_options(gateway, tls_), site_pages(gateway, board, backplane.name)),
        zmtp_{zmtp_options(gateway, policy != nullptr)},
        services_{requests_,
                  directory_,
                  {gateway.line_bytes_max, gateway.max_event_bytes},
                  websockets_,
                  sessions_,
                  gateway.http ? &site_ : nullptr,
                  policy ? &access_ : nullptr,
                  gateway.zmtp ? &zmtp_ : nullptr,
                  &mqtt_},
        engine_(engine_options(gateway, tls_with_refusal())),
        outlet_(engine_),
        publisher_(gateway, backplane, name),
        publish_queue_(publisher_, *this, gateway.publish_timeout, waiting_bytes_max),
        publish_gate_(
            publish_queue_,
            [this](fanout::ClientId client, std::uint64_t& ticket) {
              return hub_.awaits_subscription(client, ticket);
            },
            gateway.publish_timeout, waiting_bytes_max,
            [this](fanout::ClientId client, std::string_view topic) {
              AccessRefusal refused = hub_.check_publish(client, topic);
              return PublishGate::Refusal{refused.code, std::move(refused.text)};
            }),
        context_(backplane.local ? backplane.local->context : std::make_shared<mq::Context>()),
        hub_(hub_limits(gateway), outlet_, directory_, Clock::now()),
        brokers_(*context_, reader_options(gateway, backplane, name), hub_),
        types_(hub_.payloads(),
               [this](const std::vector<std::string>& names, TypeFetcher::Handler handler) {
                 brokers_.types(names, std::move(handler));
               },
               {.retry_interval = types_retry_interval,
                .on_invalid_types = [](const std::string& text) { log::warning("types: {}", text); }}),
        listeners_(
            listeners_options(gateway, descriptors),
            [this](fanout::Accepted accepted) { return admit(std::move(accepted)); },
            [this](const fanout::Refused& refused) { return refuse(refused); }) {
    hub_.attach(brokers_);
    hub_.set_mqtt_payload(gateway.mqtt_payload);
    if (policy) hub_.use_policy(policy, {*authenticator, requests_, access_});
  }

  Result<std::string> listen();
  void set_tls(const std::shared_ptr<const fanout::TlsContext>& tls);
  void watch(Poller& poller);
  void fall_asleep() noexcept;
  [[nodiscard]] Clock::time_point next_deadline();
  void turn(Clock::time_point now);
  void drain();
  [[nodiscard]] bool drained() const;
  [[nodiscard]] Figures figures() const;
  void change_policy(const std::shared_ptr<const policy::Policy>& policy) { hub_.change_policy(policy); }
  [[nodiscard]] bool connected() const { return brokers_.connected(); }
  void stop_publishing(std::chrono::milliseconds limit);
  [[nodiscard]] bool has_unread() { return brokers_.pending(); }
  void release() { brokers_.release(); }

  void on_published(fanout::ClientId client, std::string_view topic, std::size_t bytes, std::string_view code,
                    std::string_view text) override;
  void on_tagged(fanout::ClientId client, std::uint32_t tag, std::size_t bytes, std::string_view code,
                 std::string_view text) override;

  Requests& requests() noexcept { return requests_; }
  BrokerPublisher& publisher() noexcept { return publisher_; }

 private:
  fanout::ClientId admit(fanout::Accepted accepted);
  [[nodiscard]] fanout::TlsOptions tls_with_refusal();
  [[nodiscard]] std::string refuse(const fanout::Refused& refused) const;
  [[nodiscard]] std::string refuse_plaintext(std::string_view begun, bool last) const;
  void append_response(const http::Response& response, std::string_view request_line, std::string& out) const;
  void take_requests(Clock::time_point now);
  void execute_requests(Clock::time_point now, Clock::time_point until);
  void take_publish(fanout::ClientId client, request::Publish& publish, Clock::time_point now);
  void remove_departed();
  void watch_broker();
  void tick(Clock::time_point now);
  void log_key_problem();

  const GatewayConfig& gateway_;
  const BackplaneConfig& config_;
  // In this order: sessions, on the engine's workers, use the members above the engine.
  Requests requests_;
  TopicDirectory directory_;
  websocket::Counters websockets_;
  SessionCounters sessions_;
  AccessCounters access_;
  mqtt::Counters mqtt_;
  CurrentTls tls_;
  http::Site site_;
  ZmtpServices zmtp_;
  const Services services_;
  std::atomic<std::size_t> goodbyes_sent_{0};
  fanout::Engine engine_;
  EngineOutlet outlet_;
  BrokerPublisher publisher_;
  PublishQueue publish_queue_;
  PublishGate publish_gate_;
  const std::shared_ptr<mq::Context> context_;
  Hub hub_;
  BrokerGroup brokers_;
  TypeFetcher types_;
  fanout::Listeners listeners_;
  std::map<std::size_t, const FeedConfig*> feeds_;  // by listener
  std::set<std::size_t> mqtt_listeners_;            // those for MQTT alone
  std::size_t goodbyes_{};

  std::vector<Request> batch_;  // taken, and not all executed
  std::size_t batch_done_{};    // how many are
  RequestPace pace_{requests_time_per_turn};
  std::vector<fanout::ClientId> departed_{};  // to be removed after the batch

  Clock::time_point next_tick_{Clock::now() + tick_interval};
  bool publishes_{true};
  bool broker_connected_{};
  bool absence_logged_{};
  std::string key_problem_;  // that was logged last, while there is one
  // Set by the poller.
  bool waker_ready_{};
  bool accept_ready_{};
  bool departed_ready_{};
  bool publisher_ready_{};
};

Result<std::string> Backplane::Impl::listen() {
  struct Address {
    std::string text;
    const FeedConfig* feed{};
    bool mqtt{};
  };
  std::vector<Address> addresses;
  for (const std::string& address : config_.listen) addresses.push_back({address});
  for (const FeedConfig& feed : gateway_.feeds) {
    if (feed.backplane == config_.name) addresses.push_back({feed.listen, &feed});
  }
  for (const std::string& address : config_.mqtt) addresses.push_back({address, nullptr, true});
  std::string all;
  for (const auto& [address, feed, mqtt] : addresses) {
    const auto bound = listeners_.listen(address);
    if (!bound) return tl::unexpected(bound.error());
    if (feed != nullptr) feeds_.emplace(bound->index, feed);
    if (mqtt) mqtt_listeners_.insert(bound->index);
    site_.add_address(address);
    site_.add_address(bound->address);
    if (!bound->loopback && (gateway_.policy.empty() || !gateway_.encrypts())) {
      log::warning("{} is reachable from other machines, without {}", bound->address,
                   gateway_.policy.empty() ? "authentication" : "encryption");
    }
    all += (all.empty() ? "" : ",") + bound->address;
  }
  return all;
}

fanout::ClientId Backplane::Impl::admit(fanout::Accepted accepted) {
  const auto feed = feeds_.find(accepted.listener);
  PeerAddress peer{accepted.peer.host_key(), accepted.peer.text()};
  if (mqtt_listeners_.contains(accepted.listener)) {
    const fanout::ClientId client = engine_.adopt(std::move(accepted.socket), [this](fanout::Client& of) {
      return std::make_unique<mqtt::MqttSession>(of, services_);
    });
    hub_.add(client, Format::mqtt_3, std::move(peer));
    return client;
  }
  if (feed == feeds_.end()) {
    const fanout::ClientId client = engine_.adopt(std::move(accepted.socket), [this](fanout::Client& of) {
      return std::make_unique<FirstLineSession>(of, services_);
    });
    hub_.add(client, Format::text, std::move(peer));
    return client;
  }
  const Format format = feed->second->format;
  const fanout::ClientId client =
      engine_.adopt(std::move(accepted.socket), [this, format](fanout::Client& of) {
        return std::make_unique<feed::FeedSession>(of, services_, format);
      });
  hub_.add(client, format, std::move(peer));
  bool any = false;
  for (const std::string& topics : feed->second->topics) {
    const auto pattern = Pattern::parse(topics);
    any = (pattern && hub_.subscribe(client, *pattern, {}, Clock::now())) || any;
  }
  // Clients of a feed cannot say who they are. They get what anonymous may read.
  if (!any) {
    engine_.post(client, [](fanout::Client& of) { of.handler().say_goodbye(not_permitted); });
  }
  return client;
}

/// The last words for a connection that is refused, in its own protocol.
std::string Backplane::Impl::refuse(const fanout::Refused& refused) const {
  const std::string_view reason = refused.why == fanout::Refusal::address_limit
                                      ? "too_many_connections_from_address"
                                      : "too_many_connections";
  const auto feed = feeds_.find(refused.listener);
  const std::string_view line = refused.begun.substr(0, refused.begun.find_first_of("\r\n"));
  const bool http = feed == feeds_.end() && gateway_.http &&
                    (begins_as_http(refused.begun) || protocol_of(line) == Protocol::http);
  std::string out;
  if (refused.begun.starts_with('\x16') && tls_.get()) {
    out = tls_alert;
  } else if (gateway_.zmtp && feed == feeds_.end() && begins_as_zmtp(refused.begun)) {
    return out;  // ZMTP has no words for it
  } else if (feed == feeds_.end() &&
             (mqtt::begins_as_mqtt(refused.begun) || mqtt_listeners_.contains(refused.listener))) {
    out = mqtt::refuse_connect(refused.begun, mqtt::ReasonCode::server_busy);
  } else if (http) {
    append_response(refusal_response(reason), line, out);
  } else if (feed != feeds_.end()) {
    append_session_line(feed->second->format, "BYE", reason, out);
  } else if (refused.last || line.size() < refused.begun.size()) {
    append_session_line(Format::text, "BYE", reason, out);
  }
  return out;
}

void Backplane::Impl::append_response(const http::Response& response, std::string_view request_line,
                                      std::string& out) const {
  site_.counters().response(response.status);
  append_head(response, http::Framing::length, false, out);
  if (!request_line.starts_with("HEAD ")) out += response.body;
}

fanout::TlsOptions Backplane::Impl::tls_with_refusal() {
  fanout::TlsOptions options = tls_options(gateway_, tls_.get());
  options.refuse_plaintext = [this](std::string_view begun, bool last) {
    return refuse_plaintext(begun, last);
  };
  return options;
}

/// The last words for a client without TLS, if TLS is required. Called by workers.
std::string Backplane::Impl::refuse_plaintext(std::string_view begun, bool last) const {
  const std::string_view line = begun.substr(0, begun.find_first_of("\r\n"));
  std::string out;
  if (mqtt::begins_as_mqtt(begun)) return mqtt::refuse_connect(begun, mqtt::ReasonCode::not_authorized);
  if (gateway_.http && (begins_as_http(begun) || protocol_of(line) == Protocol::http)) {
    append_response(http::problem(400, "tls_required", "this port requires TLS: use https:// or wss://"),
                    line, out);
  } else if (last || line.size() < begun.size()) {
    append_error(Format::text, "tls_required", "this port requires TLS", out);
    append_session_line(Format::text, "BYE", "tls_required", out);
  }
  return out;
}

void Backplane::Impl::set_tls(const std::shared_ptr<const fanout::TlsContext>& tls) {
  tls_.set(tls);
  engine_.set_tls_context(tls);
  engine_.publish();
}

void Backplane::Impl::watch(Poller& poller) {
  poller.watch(requests_.waker().fd(), &waker_ready_);
  poller.watch(listeners_.fd(), &accept_ready_);
  poller.watch(engine_.closed_clients_fd(), &departed_ready_);
  poller.watch(publisher_.fd(), &publisher_ready_);
  for (const int fd : brokers_.fds()) poller.watch(fd, nullptr);  // turn() lets the follower work anyway
}

/// Requests that wait are executed when pace_ permits: then more of them need not wake the thread.
void Backplane::Impl::fall_asleep() noexcept {
  if (requests_.empty() && batch_.empty()) requests_.waker().fall_asleep();
}

Clock::time_point Backplane::Impl::next_deadline() {
  const bool has_requests = !requests_.empty() || !batch_.empty() || departed_ready_;
  if (brokers_.pending() || (!departed_.empty() && batch_.empty())) return Clock::time_point::min();
  return std::min({brokers_.next_deadline(), hub_.next_deadline(), publish_queue_.next_deadline(),
                   publish_gate_.next_deadline(), listeners_.next_deadline(), next_tick_,
                   has_requests ? pace_.ready_at() : Clock::time_point::max()});
}

void Backplane::Impl::turn(Clock::time_point now) {
  if (std::exchange(waker_ready_, false)) requests_.waker().drain();
  if (std::exchange(accept_ready_, false) || now >= listeners_.next_deadline()) listeners_.accept(now);
  take_requests(now);
  for (int i = 0; i < follower_turns && brokers_.do_work(Clock::now()) > 0; ++i) engine_.publish();
  if (brokers_.connected() != broker_connected_) watch_broker();
  now = Clock::now();
  publish_gate_.pump(now);  // subscriptions may be active now
  types_.turn(now);
  if (std::exchange(publisher_ready_, false)) {
    publisher_.rearm();
    publish_queue_.pump(now);
  } else if (now >= publish_queue_.next_deadline()) {
    publish_queue_.pump(now);
  }
  hub_.tick(now);
  if (now >= next_tick_) tick(now);
  engine_.publish();
  remove_departed();
}

/// Removes clients that have left, for a short time: each may have had thousands of subscriptions.
void Backplane::Impl::remove_departed() {
  if (!batch_.empty() || departed_.empty()) return;
  const Clock::time_point until = Clock::now() + removing_per_turn;
  do {
    hub_.remove(departed_.back());
    listeners_.on_client_closed(departed_.back());
    departed_.pop_back();
  } while (!departed_.empty() && Clock::now() < until);
}

/// Executes some of the clients' requests. Those that have arrived are taken as a batch: what clients that
/// have left by then had sent before is in it, and is executed before they are removed.
void Backplane::Impl::take_requests(Clock::time_point now) {
  if (now < pace_.ready_at()) return;
  if (batch_.empty()) {
    if (std::exchange(departed_ready_, false)) {
      const std::vector<fanout::ClientId> closed = engine_.take_closed_clients();
      departed_.insert(departed_.end(), closed.begin(), closed.end());
    }
    if (requests_.empty()) return;
    batch_ = requests_.take();
    batch_done_ = 0;
  }
  execute_requests(now, pace_.begin(Clock::now()));
  pace_.end(Clock::now(), engine_.is_congested());
}

void Backplane::Impl::execute_requests(Clock::time_point now, Clock::time_point until) {
  for (std::size_t done = 0; batch_done_ < batch_.size(); ++batch_done_, ++done) {
    const bool looks = done > 0 && done % requests_per_look == 0;
    if (looks && (Clock::now() >= until || engine_.is_congested())) break;
    Request& request = batch_[batch_done_];
    if (auto* const publish = std::get_if<request::Publish>(&request.what)) {
      take_publish(request.client, *publish, now);
    } else {
      hub_.handle(std::move(request), now);
    }
  }
  if (batch_done_ == batch_.size()) batch_ = std::vector<Request>{};
}

void Backplane::Impl::take_publish(fanout::ClientId client, request::Publish& publish,
                                   Clock::time_point now) {
  if (publishes_)
    return publish_gate_.publish(client, std::move(publish.topic), std::move(publish.text), now,
                                 std::move(publish.parts));
  publish_queue_.refuse(client, publish.topic, publish.text.size(),
                        "the gateway is shutting down: the event was not published", "unavailable",
                        publish.parts.get());
}

/// What has arrived is still published.
void Backplane::Impl::stop_publishing(std::chrono::milliseconds limit) {
  const auto until = Clock::now() + limit;
  for (int batches = 0; batches < 2; ++batches) {  // the one in hand, and what has arrived since
    do {
      take_requests(std::max(Clock::now(), pace_.ready_at()));
    } while (!batch_.empty());
  }
  publishes_ = false;
  publish_gate_.pump(Clock::now());
  publisher_.close(std::max(std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()), 0ms));
  publish_queue_.pump(Clock::now());
  engine_.publish();
}

void Backplane::Impl::on_published(fanout::ClientId client, std::string_view topic, std::size_t bytes,
                                   std::string_view code, std::string_view text) {
  outlet_.post(client,
               [topic = std::string(topic), bytes, code, text = std::string(text)](fanout::Client& of) {
                 static_cast<Subscriber&>(of.handler()).on_published(topic, bytes, code, text);
               });
}

void Backplane::Impl::on_tagged(fanout::ClientId client, std::uint32_t tag, std::size_t bytes,
                                std::string_view code, std::string_view text) {
  outlet_.post(client, [tag, bytes, code, text = std::string(text)](fanout::Client& of) {
    static_cast<Subscriber&>(of.handler()).on_event_result(tag, bytes, code, text);
  });
}

void Backplane::Impl::watch_broker() {
  broker_connected_ = brokers_.connected();
  absence_logged_ = false;  // the next tick logs it, unless the broker is back by then
  if (!broker_connected_) return;
  log::info("backplane {}: connected to the broker at {}", config_.name,
            config_.endpoints().at(brokers_.status().broker).egress);
}

void Backplane::Impl::tick(Clock::time_point now) {
  next_tick_ = now + tick_interval;
  log_key_problem();
  if (!broker_connected_ && !absence_logged_ && key_problem_.empty()) {
    absence_logged_ = true;
    std::string endpoints;
    for (const BrokerEndpoints& broker : config_.endpoints()) {
      endpoints += (endpoints.empty() ? "" : " or ") + broker.egress;
    }
    log::warning("backplane {}: waiting for a broker at {}", config_.name, endpoints);
  }
  // The follower sends them to the broker with its hello.
  brokers_.set_counters(hello_counters(figures()));
}

/// Once for each problem: the policy of a broker may change, so the gateway keeps trying.
void Backplane::Impl::log_key_problem() {
  std::string problem = brokers_.status().key_problem;
  if (problem.empty()) problem = publisher_.status().key_problem;
  if (std::exchange(key_problem_, problem) == problem || problem.empty()) return;
  log::warning("backplane {}: waiting for a broker: {}", config_.name, problem);
}

void Backplane::Impl::drain() {
  listeners_.stop();
  engine_.say_goodbye("drain");
  for (const fanout::ClientId client : hub_.clients()) {
    ++goodbyes_;
    engine_.post(client, [this](fanout::Client&) { goodbyes_sent_.fetch_add(1); });
  }
  engine_.publish();
}

bool Backplane::Impl::drained() const {
  const fanout::EngineCounters counters = engine_.counters();
  return counters.clients == 0 || (goodbyes_sent_.load() == goodbyes_ && counters.unsent_clients == 0);
}

Figures Backplane::Impl::figures() const {
  Figures figures;
  figures.backplane = config_.name;
  figures.connected = broker_connected_;
  figures.insecure = gateway_.insecure;
  figures.has_policy = !gateway_.policy.empty();
  figures.engine = engine_.counters();
  figures.listeners = listeners_.counters();
  figures.hub = hub_.counters();
  figures.upstream = brokers_.status();
  figures.published = publish_queue_.counters();
  figures.http = site_.counters().read();
  figures.websockets = websockets_.read();
  figures.zmtp = zmtp_.counters.read();
  figures.mqtt = mqtt_.read();
  figures.sessions = sessions_.read();
  figures.access = access_.read();
  figures.log_bytes = engine_.log_bytes();
  if (const auto tls = tls_.get()) {
    figures.tls_expires = static_cast<std::uint64_t>(
        std::max<std::time_t>(0, std::chrono::system_clock::to_time_t(tls->expires())));
  }
  figures.prefixes = hub_.upstream().prefixes();
  figures.everything = hub_.upstream().everything();
  return figures;
}

Backplane::Backplane(const GatewayConfig& gateway, const BackplaneConfig& backplane, const std::string& name,
                     const DescriptorBudget& descriptors, const FiguresBoard& board,
                     std::shared_ptr<const fanout::TlsContext> tls,
                     const std::shared_ptr<const policy::Policy>& policy, Authenticator* authenticator)
    : impl_(std::make_unique<Impl>(gateway, backplane, name, descriptors, board, std::move(tls), policy,
                                   authenticator)) {}
Backplane::~Backplane() = default;
Result<std::string> Backplane::listen() {
  return impl_->listen();
}
void Backplane::set_tls(const std::shared_ptr<const fanout::TlsContext>& tls) {
  impl_->set_tls(tls);
}
void Backplane::watch(Poller& poller) {
  impl_->watch(poller);
}
void Backplane::fall_asleep() noexcept {
  impl_->fall_asleep();
}
void Backplane::wake_up() noexcept {
  impl_->requests().waker().wake_up();
}
Backplane::Clock::time_point Backplane::next_deadline() {
  return impl_->next_deadline();
}
void Backplane::turn(Clock::time_point now) {
  impl_->turn(now);
}
void Backplane::change_policy(const std::shared_ptr<const policy::Policy>& policy) {
  impl_->change_policy(policy);
}
bool Backplane::connected() const {
  return impl_->connected();
}
void Backplane::stop_publishing(std::chrono::milliseconds limit) {
  impl_->stop_publishing(limit);
}
bool Backplane::has_unread() {
  return impl_->has_unread();
}
void Backplane::drain() {
  impl_->drain();
}
bool Backplane::drained() const {
  return impl_->drained();
}
void Backplane::close(std::chrono::milliseconds limit) {
  impl_->publisher().close(limit);
}
void Backplane::release() {
  impl_->release();
}
Figures Backplane::figures() const {
  return impl_->figures();
}

}  // namespace backplane::gateway
