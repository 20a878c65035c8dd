#include "backplane/client.hpp"

#include <algorithm>
#include <atomic>
#include <limits>
#include <stdexcept>

#include <google/protobuf/message.h>
#include <poll.h>

#include "backplane/v1/event.pb.h"
#include "clients/lib/item_queue.hpp"
#include "clients/lib/subscriptions.hpp"
#include "core/credentials/broker_keys.hpp"
#include "core/payload/payload_json.hpp"
#include "core/payload/text.hpp"
#include "core/process/wake_fd.hpp"
#include "core/time/deadline.hpp"
#include "core/wire/scan.hpp"
#include "core/wire/stamp.hpp"
#include "core/zmq/socket.hpp"
#include "follower/broker_group.hpp"
#include "follower/connection/fd_group.hpp"
#include "follower/control/broker_control.hpp"
#include "follower/control/type_fetcher.hpp"

namespace backplane {
namespace {

using Clock = std::chrono::steady_clock;

// Turns without an item, after which next() returns to a caller whose timeout has passed.
constexpr int idle_turns_max = 8;
/// Half of that of Hello, so that no Hello has older ones than a second.
constexpr std::chrono::milliseconds counters_interval{500};
constexpr std::int64_t nanoseconds_per_second = 1'000'000'000;

wire::EventView view_of(std::span<const std::byte> envelope) {
  return wire::scan_event(wire::without_stamp(envelope)).event;
}

BrokerGroup::Options group_options(const Client::Options& options, const mq::SharedKeys& keys) {
  BrokerGroup::Options with;
  with.brokers.clear();
  for (const ClientEndpoints& broker : options.brokers)
    with.brokers.push_back({{}, broker.egress, broker.control, keys});
  with.follower.name = options.name;
  with.follower.max_event_bytes = options.max_event_bytes;
  with.follower.control_timeout = options.answer_timeout;
  with.follower.recovery_limit = options.recovery_limit;
  with.follower.reorder_buffer_bytes_max = options.held_bytes_max;
  return with;
}

}  // namespace

// ---- an event ----

std::string_view Client::Event::source() const {
  return view_of(envelope_).source;
}
std::uint64_t Client::Event::session() const {
  return view_of(envelope_).session;
}
std::uint64_t Client::Event::sequence() const {
  return view_of(envelope_).sequence;
}

std::optional<std::int64_t> Client::Event::time_ns() const {
  const wire::EventView view = view_of(envelope_);
  constexpr std::int64_t seconds_max = std::numeric_limits<std::int64_t>::max() / nanoseconds_per_second - 1;
  const bool fits = view.time_seconds <= seconds_max && view.time_seconds >= -seconds_max;
  const bool proper = view.time_nanos >= 0 && view.time_nanos < nanoseconds_per_second;
  if (!view.has_time || !fits || !proper) return std::nullopt;
  return view.time_seconds * nanoseconds_per_second + view.time_nanos;
}

std::vector<std::pair<std::string, std::string>> Client::Event::attributes() const {
  v1::Event event;
  if (!event.ParseFromArray(envelope_.data(), static_cast<int>(envelope_.size()))) return {};
  std::vector<std::pair<std::string, std::string>> all;
  for (const auto& [key, value] : event.attributes()) all.emplace_back(key, value);
  return all;
}

Client::Payload Client::Event::payload() const {
  switch (view_of(envelope_).payload) {
    case wire::Payload::none:
      return Payload::none;
    case wire::Payload::message:
      return Payload::message;
    case wire::Payload::text:
      return Payload::text;
    case wire::Payload::binary:
      return Payload::bytes;
  }
  return Payload::none;
}

std::string_view Client::Event::content() const {
  const wire::EventView view = view_of(envelope_);
  return view.payload == wire::Payload::message ? view.message : view.body;
}

std::string_view Client::Event::type() const {
  const wire::EventView view = view_of(envelope_);
  return view.payload == wire::Payload::message ? type_name(view.type_url) : std::string_view{};
}

bool Client::Event::unpack(google::protobuf::Message& into) const {
  const wire::EventView view = view_of(envelope_);
  if (view.payload != wire::Payload::message || type_name(view.type_url) != into.GetTypeName()) return false;
  return into.ParseFromArray(view.message.data(), static_cast<int>(view.message.size()));
}

// ---- the client ----

class Client::Impl final {
 public:
  explicit Impl(Options options)
      : options_(std::move(options)),
        keys_(keys_of(options_.credentials)),
        subscriptions_(queue_, options_.join_bytes_max),
        brokers_(context_, group_options(options_, keys_), subscriptions_) {
    subscriptions_.attach(brokers_);
    const int wake = wake_.fd();
    fds_.add(std::span(&wake, 1));
    fds_.add(brokers_.fds());
    brokers_.release();
  }

  Subscription subscribe(const std::vector<std::string>& patterns, const SubscribeOptions& options) {
    return subscriptions_.subscribe(patterns, options);
  }
  void unsubscribe(Subscription subscription) { subscriptions_.unsubscribe(subscription); }

  const Item* next(std::chrono::milliseconds timeout) {
    if (stopped_.load(std::memory_order_relaxed)) return nullptr;
    if (const Item* const item = take()) return item;
    Clock::time_point now = Clock::now();
    const Clock::time_point until =
        now + std::min<std::chrono::milliseconds>(timeout, std::chrono::hours{24 * 365});
    for (int turns = 1;; ++turns, now = Clock::now()) {
      set_counters(now);
      const std::size_t done = subscriptions_.tick(now) + brokers_.do_work(now);
      if (const Item* const item = take()) return item;
      if (stopped_.load(std::memory_order_relaxed)) return nullptr;
      if (now >= until && (done == 0 || turns >= idle_turns_max)) return nullptr;
      if (done == 0) sleep(until);
    }
  }

  bool run_for(std::chrono::milliseconds time, const Callbacks& callbacks) {
    const Clock::time_point until = Clock::now() + time;
    std::chrono::milliseconds left = time;
    // The clock is read once per 256 items; next() reads it when there is none.
    for (int count = 0;; ++count) {
      if (count % 256 == 0) left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now());
      if (left.count() < 0) return true;
      const Item* const item = next(left);
      if (item == nullptr) return !stopped_.load(std::memory_order_relaxed);
      call(callbacks, *item);
    }
  }

  void stop() noexcept {
    stopped_.store(true, std::memory_order_relaxed);
    wake_.wake();
  }

  [[nodiscard]] std::string resume_token() const {
    return backplane::resume_token(subscriptions_.read_positions());
  }

  std::string payload_json(const Event& event);

  [[nodiscard]] int fd() const noexcept { return fds_.fd(); }

  Clock::time_point wait_until() {
    if (!queue_.empty() || brokers_.pending()) return Clock::time_point::min();
    return std::min(subscriptions_.next_deadline(), brokers_.next_deadline());
  }

  [[nodiscard]] ClientStatus status() const {
    const FollowerStatus follower = brokers_.status();
    ClientStatus status;
    status.connected = follower.connected;
    status.broker = follower.broker;
    status.given = given_;
    status.conflated = subscriptions_.conflated();
    status.seen = follower.seen;
    status.recovered = follower.recovered;
    status.lost = follower.lost_history_gone + follower.lost_recovery_timeout + follower.lost_damaged +
                  follower.lost_upstream;
    status.gaps = follower.gaps;
    status.resets = follower.resets;
    status.undecodable = follower.undecodable;
    status.reconnects = follower.reconnects;
    status.key_problem = follower.key_problem;
    return status;
  }

 private:
  const Item* take();
  void set_counters(Clock::time_point now);
  static void call(const Callbacks& callbacks, const Item& item);
  void sleep(Clock::time_point until);
  Result<TypesReply> request_types(const std::vector<std::string>& names);

  Options options_;
  mq::SharedKeys keys_;
  mq::Context context_;
  client::ItemQueue queue_;
  client::Subscriptions subscriptions_;
  BrokerGroup brokers_;
  WakeFd wake_;
  follower::FdGroup fds_;
  std::atomic<bool> stopped_{};
  Item item_;  // the one returned last
  std::uint64_t given_{};
  Clock::time_point counters_due_{};

  PayloadJson json_;
  // A connection of its own, so that only the types are read while payload_json() blocks.
  std::unique_ptr<BrokerControl> control_;
  std::size_t control_broker_{};
  TypeFetcher types_{json_, [this](const std::vector<std::string>& names,
                                   const TypeFetcher::Handler& handler) { handler(request_types(names)); }};
};

const Client::Item* Client::Impl::take() {
  while (const client::ItemQueue::Record* const record = queue_.pop()) {
    if (record->subscription != nullptr && record->subscription->ended) continue;
    subscriptions_.on_delivered(*record);
    if (record->notice == client::ItemQueue::no_notice) [[likely]] {
      ++given_;
      Event* event = std::get_if<Event>(&item_);
      if (event == nullptr) event = &item_.emplace<Event>();
      event->subscription_ = record->subscription->group->id;
      event->topic_ = record->bytes.topic;
      event->envelope_ = record->bytes.event;
      event->stream_ = record->stamp.stream;
      event->position_ = record->stamp.position;
      event->offset_ = record->stamp.offset;
      event->received_ns_ = record->stamp.received_ns;
      event->from_history_ = record->from_history;
      event->late_ = record->late;
      return &item_;
    }
    client::ItemQueue::Notice& notice = queue_.notice(*record);
    if (std::holds_alternative<client::ItemQueue::Joined>(notice)) continue;
    std::visit(
        [this](auto& what) {
          using What = std::decay_t<decltype(what)>;
          if constexpr (std::is_same_v<What, client::ItemQueue::Restarted>) {
            item_ = what.reset;
          } else if constexpr (!std::is_same_v<What, client::ItemQueue::Joined>) {
            item_ = std::move(what);
          }
        },
        notice);
    return &item_;
  }
  return nullptr;
}

/// What the brokers' status displays show beside the name. It travels with the next Hello.
void Client::Impl::set_counters(Clock::time_point now) {
  if (options_.name.empty() || now < counters_due_) return;
  counters_due_ = now + counters_interval;
  const ClientStatus all = status();
  brokers_.set_counters({{"given", all.given}, {"conflated", all.conflated}, {"lost", all.lost}});
}

void Client::Impl::call(const Callbacks& callbacks, const Item& item) {
  const auto call = [](const auto& callback, const auto& what) {
    if (callback) callback(what);
  };
  std::visit(
      [&](const auto& what) {
        using What = std::decay_t<decltype(what)>;
        if constexpr (std::is_same_v<What, Event>) call(callbacks.on_event, what);
        if constexpr (std::is_same_v<What, Gap>) call(callbacks.on_gap, what);
        if constexpr (std::is_same_v<What, Reset>) call(callbacks.on_reset, what);
        if constexpr (std::is_same_v<What, Subscribed>) call(callbacks.on_subscribed, what);
        if constexpr (std::is_same_v<What, Refused>) call(callbacks.on_refused, what);
        if constexpr (std::is_same_v<What, Broker>) call(callbacks.on_broker, what);
      },
      item);
}

void Client::Impl::sleep(Clock::time_point until) {
  const int timeout = poll_timeout(std::min(until, wait_until()), Clock::now());
  if (timeout == 0) return;
  pollfd waiting{fds_.fd(), POLLIN, 0};
  ::poll(&waiting, 1, timeout);
}

std::string Client::Impl::payload_json(const Event& event) {
  const wire::EventView view = view_of(event.envelope());
  std::string json;
  switch (view.payload) {
    case wire::Payload::none:
      json = "null";
      break;
    case wire::Payload::text:
      append_json_string(view.body, json);
      break;
    case wire::Payload::binary:
      json += '"';
      append_base64(view.body, json);
      json += '"';
      break;
    case wire::Payload::message:
      types_.turn(Clock::now());  // types that were unknown may have been registered since
      json_.append(view.type_url, view.message, json);
      // Without a usable reply, the payload is shown as its bytes.
      if (!types_.turn(Clock::now())) break;
      json.clear();
      json_.append(view.type_url, view.message, json);
      break;
  }
  return json;
}

Result<TypesReply> Client::Impl::request_types(const std::vector<std::string>& names) {
  const std::size_t broker = brokers_.broker();
  if (!control_ || control_broker_ != broker) {
    control_ = std::make_unique<BrokerControl>(
        context_, BrokerControl::Options{options_.brokers[broker].control, options_.answer_timeout, keys_});
    control_broker_ = broker;
  }
  return control_->types(names, options_.answer_timeout);
}

Client::Client(Options options) : impl_(std::make_unique<Impl>(std::move(options))) {}
Client::Client() : Client(Options{}) {}
Client::~Client() = default;

Client::Subscription Client::subscribe(std::string_view pattern, const SubscribeOptions& options) {
  return impl_->subscribe(std::vector<std::string>{std::string(pattern)}, options);
}
Client::Subscription Client::subscribe(const std::vector<std::string>& patterns,
                                       const SubscribeOptions& options) {
  return impl_->subscribe(patterns, options);
}
void Client::unsubscribe(Subscription subscription) {
  impl_->unsubscribe(subscription);
}
const Client::Item* Client::next(std::chrono::milliseconds timeout) {
  return impl_->next(timeout);
}
bool Client::run_for(std::chrono::milliseconds time, const Callbacks& callbacks) {
  return impl_->run_for(time, callbacks);
}
void Client::stop() noexcept {
  impl_->stop();
}
std::string Client::resume_token() const {
  return impl_->resume_token();
}
std::string Client::payload_json(const Event& event) {
  return impl_->payload_json(event);
}
int Client::fd() const {
  return impl_->fd();
}
Clock::time_point Client::wait_until() {
  return impl_->wait_until();
}
ClientStatus Client::status() const {
  return impl_->status();
}

}  // namespace backplane
