#include "gateway/gateway.hpp"

#include <algorithm>
#include <cstdio>
#include <string>
#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "backplane/publisher.hpp"
#include "clients/lib/follower.hpp"
#include "core/log/log.hpp"
#include "core/process/host.hpp"
#include "fanout/descriptor.hpp"
#include "fanout/server.hpp"
#include "gateway/hub.hpp"
#include "gateway/protocols/line/line_session.hpp"
#include "gateway/upstream/publish_desk.hpp"

namespace backplane::gateway {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

// So many turns of the follower, of some hundred events each, before what they gave is written: more
// events a write cost less, but clients wait for it.
constexpr int follower_turns = 4;
constexpr auto tick_interval = 1s;
constexpr auto drain_time_max = 1s;
constexpr auto goodbye_time_max = 200ms;
// PUBs that wait for a broker to come.
constexpr std::size_t waiting_bytes_max = 64u << 20;

/// The Publisher, and how its thread wakes ours.
class PublisherSink final : public EventSink {
 public:
  PublisherSink(const GatewayConfig& config, const std::string& name)
      : wake_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)), publisher_(options(config, name)) {}

  Offer offer(std::string_view topic, std::string_view text) override {
    return publisher_.offer_text(topic, text);
  }
  PublisherStatus status() override { return publisher_.status(); }
  void request_confirmation() override { publisher_.request_confirmation(); }

  [[nodiscard]] int wake_fd() const noexcept { return wake_.get(); }
  void close() { (void)publisher_.close(goodbye_time_max); }

  /// Makes wake_fd() wait for the next change.
  void rearm() noexcept {
    std::uint64_t count = 0;
    (void)!::read(wake_.get(), &count, sizeof count);  // nothing there is as good
  }

 private:
  Publisher::Options options(const GatewayConfig& config, const std::string& name) {
    if (!wake_) throw std::system_error(errno, std::system_category(), "eventfd");
    Publisher::Options options;
    options.brokers = {{config.ingress, config.control}};
    options.source = name;
    options.max_event_bytes = config.max_event_bytes;
    options.on_change = [fd = wake_.get()](const PublisherStatus&) {
      const std::uint64_t one = 1;
      (void)!::write(fd, &one, sizeof one);  // refused only where it is readable by far
    };
    return options;
  }

  fanout::Descriptor wake_;
  Publisher publisher_;
};

fanout::ServerOptions server_options(const GatewayConfig& config) {
  fanout::ServerOptions options;
  options.session.backlog_bytes_max = config.backlog_bytes_max;
  options.session.backlog_total_bytes_max = config.backlog_total_bytes_max;
  options.connections_max = config.connections_max;
  options.connections_per_address_max = config.connections_per_address_max;
  options.first_byte_timeout = config.first_byte_timeout;
  return options;
}

Follower::Options follower_options(const GatewayConfig& config, const std::string& name) {
  Follower::Options options;
  options.broker = {config.ingress, config.egress, config.control};
  options.name = name;
  options.role = Follower::Role::gateway;
  options.max_event_bytes = config.max_event_bytes;
  return options;
}

HubLimits hub_limits(const GatewayConfig& config) {
  HubLimits limits;
  limits.subscriptions_per_reader_max = config.subscriptions_per_client_max;
  limits.join_bytes_max = config.backlog_bytes_max;
  return limits;
}

}  // namespace

class Gateway::Impl final : public fanout::Acceptor, public Upstream {
 public:
  explicit Impl(GatewayConfig config)
      : config_(std::move(config)),
        name_(config_.name.empty() ? "gateway@" + host_name() : config_.name),
        sink_(config_, name_),
        desk_(sink_, config_.publish_timeout, waiting_bytes_max),
        hub_(hub_limits(config_), *this, Clock::now()),
        follower_(context_, follower_options(config_, name_), hub_),
        server_(server_options(config_), *this) {}

  ExitCode run(Signals& signals);

  std::unique_ptr<fanout::Connection> open(fanout::Session& session) override;
  std::string_view refusal(fanout::Refusal why) override;
  std::string_view silence() override { return "!BYE silence nothing was sent\n"; }

  std::uint64_t subscribe(std::string_view prefix) override { return follower_.subscribe(prefix); }
  void unsubscribe(std::string_view prefix) override { follower_.unsubscribe(prefix); }
  std::uint64_t retained(std::string_view pattern) override { return follower_.retained(pattern); }

 private:
  /// @returns the addresses in force, joined by commas; empty: cannot listen, which is logged.
  std::string listen();
  void turn(Clock::time_point until);
  void tick(Clock::time_point now);
  void watch_broker();
  void drain();

  GatewayConfig config_;
  std::string name_;
  PublisherSink sink_;
  PublishDesk desk_;
  mq::Context context_;
  Hub hub_;
  Follower follower_;
  Clock::time_point next_tick_{Clock::now() + tick_interval};
  bool broker_there_{};
  bool absence_logged_{};
  bool sink_changed_{};
  fanout::Server server_;  // last, as its sessions use all the others
};

std::unique_ptr<fanout::Connection> Gateway::Impl::open(fanout::Session& session) {
  const line::LineReader::Limits limits{config_.line_bytes_max, config_.max_event_bytes};
  return std::make_unique<line::LineSession>(session, line::Services{hub_, desk_, limits});
}

std::string_view Gateway::Impl::refusal(fanout::Refusal why) {
  return why == fanout::Refusal::connections_in_all ? "!BYE too_many_connections\n"
                                                    : "!BYE too_many_connections_from_address\n";
}

std::string Gateway::Impl::listen() {
  std::string all;
  for (const std::string& place : config_.listen) {
    const auto address = server_.listen(place);
    if (!address) {
      log::error("{}", address.error().text);
      return {};
    }
    if (!server_.is_loopback(*address)) {
      log::warning("clients reach {} from other machines, and it asks nobody who they are", *address);
    }
    all += (all.empty() ? "" : ",") + *address;
  }
  return all;
}

void Gateway::Impl::turn(Clock::time_point until) {
  until =
      std::min({until, follower_.next_deadline(), hub_.next_deadline(), desk_.next_deadline(), next_tick_});
  if (follower_.pending()) until = Clock::time_point::min();
  server_.wait(until);
  for (int i = 0; i < follower_turns && follower_.do_work(Clock::now()) > 0; ++i) {
  }
  const auto now = Clock::now();
  if (std::exchange(sink_changed_, false)) {
    sink_.rearm();
    desk_.pump(now);
  } else if (now >= desk_.next_deadline()) {
    desk_.pump(now);
  }
  hub_.tick(now);
  if (follower_.connected() != broker_there_) watch_broker();
  if (now >= next_tick_) tick(now);
  server_.flush();
}

/// Tells the broker, with the follower's hello, how we are.
void Gateway::Impl::tick(Clock::time_point now) {
  next_tick_ = now + tick_interval;
  if (!broker_there_ && !absence_logged_) {
    absence_logged_ = true;
    log::warning("there is no broker at {}: clients are told to wait", config_.egress);
  }
  const fanout::SessionCounters& sessions = server_.session_counters();
  follower_.set_counters({{"clients", server_.counters().connections},
                          {"deliveries", sessions.delivered},
                          {"dropped", sessions.dropped},
                          {"backlog_bytes", sessions.backlog_bytes},
                          {"subscriptions", hub_.counters().subscriptions},
                          {"undecodable", hub_.counters().undecodable}});
}

ExitCode Gateway::Impl::run(Signals& signals) {
  constexpr std::uint64_t own_files = 64;  // listeners, ZeroMQ's, logs
  const std::uint64_t files = raise_open_files_limit();
  const std::uint64_t clients = files > own_files ? files - own_files : 0;
  log::info("{} files may be open: room for {} clients", files,
            std::min<std::uint64_t>(clients, config_.connections_max));
  const std::string places = listen();
  if (places.empty()) return ExitCode::failed;
  bool stop = false;
  server_.watch(signals.fd(), [&] {
    for (auto event = signals.next(); event != Signals::Event::none; event = signals.next()) {
      if (event == Signals::Event::stop) stop = true;
      if (event == Signals::Event::reload) log::info("nothing of a gateway can be changed while it runs");
    }
  });
  server_.watch(sink_.wake_fd(), [this] { sink_changed_ = true; });
  for (const int fd : follower_.fds()) server_.watch(fd, [] {});  // each turn asks the follower anyway
  fmt::print("ready role=gateway listen={}\n", places);
  std::fflush(stdout);
  while (!stop) turn(Clock::time_point::max());
  drain();
  server_.unwatch(signals.fd());
  sink_.close();
  return ExitCode::done;
}

void Gateway::Impl::watch_broker() {
  broker_there_ = follower_.connected();
  absence_logged_ = false;  // the next tick says so, unless it is back by then
  if (broker_there_) log::info("following the broker at {}", config_.egress);
}

void Gateway::Impl::drain() {
  server_.stop_listening();
  server_.say_goodbye("drain");
  const auto until = Clock::now() + drain_time_max;
  server_.flush();
  while (server_.unsent_sessions() > 0 && Clock::now() < until) {
    server_.wait(until);
    server_.flush();
  }
}

Gateway::Gateway(GatewayConfig config) : impl_(std::make_unique<Impl>(std::move(config))) {}
Gateway::~Gateway() = default;
ExitCode Gateway::run(Signals& signals) {
  return impl_->run(signals);
}

}  // namespace backplane::gateway
