#include "clients/lib/follower.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "backplane/v1/control.pb.h"
#include "clients/lib/connection.hpp"
#include "clients/lib/control_channel.hpp"
#include "clients/lib/live_check.hpp"
#include "clients/lib/reading.hpp"
#include "core/process/host.hpp"
#include "core/topic/topic.hpp"
#include "core/wire/stamp.hpp"

namespace backplane {
namespace {

using Clock = std::chrono::steady_clock;

// At most so many events a turn, so that control and connection events have theirs.
constexpr std::size_t events_a_turn_max = 256;
constexpr std::chrono::seconds hello_interval{1};
// Above the broker's own limit, since libzmq cuts the connection at a message that is larger.
constexpr std::size_t message_bytes_extra = 64u << 10;

mq::SocketOptions egress_options(std::int64_t max_message_bytes) {
  mq::SocketOptions options;
  options.send_hwm = 0;  // subscriptions are messages too: above a mark they are lost in silence
  options.receive_hwm = 100'000;
  options.max_message_bytes = max_message_bytes;
  return options;
}

client::Reading::Options reading_options(const Follower::Options& options) {
  client::Reading::Options reading;
  reading.recovery_limit = options.recovery_limit;
  reading.held_bytes_max = options.held_bytes_max;
  reading.tails_interval = options.tails_interval;
  return reading;
}

/// Whether the broker did answer, and not merely that it is about to end.
bool is_refusal(const Error& error) {
  return error.code == ErrorCode::protocol || error.code == ErrorCode::invalid_argument;
}

std::string_view text_of(const zmq::message_t& frame) {
  return {static_cast<const char*>(frame.data()), frame.size()};
}

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

}  // namespace

class Follower::Impl : private client::ReadingSink {
 public:
  Impl(mq::Context& context, Options options, FollowerListener& listener)
      : options_(std::move(options)),
        listener_(listener),
        sub_(context, zmq::socket_type::sub, egress_options(message_bytes_max())),
        connection_(context, sub_, options_.broker.egress),
        control_(context, options_.broker.control, message_bytes_max()),
        live_(options_.live_retry, random_id),
        reading_(reading_options(options_), *this),
        session_(random_id()) {
    release();
  }

  ~Impl() override {
    if (!said_hello_) return;
    v1::ControlRequest request = hello();
    request.mutable_hello()->set_closing(true);
    control_.tell(request);
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  std::uint64_t subscribe(std::string_view prefix) {
    live_.want(++last_ticket_);
    if (reading_.subscribe(prefix, last_ticket_)) sub_.raw().set(zmq::sockopt::subscribe, prefix);
    return last_ticket_;
  }

  void unsubscribe(std::string_view prefix) {
    if (reading_.unsubscribe(prefix)) sub_.raw().set(zmq::sockopt::unsubscribe, prefix);
  }

  std::uint64_t retained(std::string_view pattern) {
    ask_retained(++last_request_, std::string(pattern), {});
    return last_request_;
  }

  std::size_t do_work(Clock::time_point now) {
    now_ = now;
    std::size_t done = watch_connection();
    connection_.keep_up(now);
    const std::size_t received = receive_events();
    done += received;
    done += check_live(now);
    say_hello(now);
    done += control_.do_work(now);
    reading_.tick(now, received < events_a_turn_max);
    done += ask_for_what_is_missing(now);
    return done;
  }

  std::vector<int> fds() {
    std::vector<int> all{sub_.fd(), connection_.fd()};
    control_.add_fds(all);
    return all;
  }

  [[nodiscard]] Clock::time_point next_deadline() const {
    auto earliest = std::min({live_.next_deadline(), control_.next_deadline(), connection_.next_deadline()});
    if (!options_.name.empty() && control_.connected()) earliest = std::min(earliest, next_hello_);
    if (may_ask()) earliest = std::min(earliest, reading_.ask_deadline());
    return std::min(earliest, reading_.next_deadline());
  }

  bool pending() {
    return live_.next_deadline() == Clock::time_point::min() || sub_.readable() || connection_.pending() ||
           control_.pending() || (may_ask() && reading_.ask_deadline() <= now_);
  }

  [[nodiscard]] bool up() const noexcept { return up_; }

  [[nodiscard]] FollowerStatus status() const {
    FollowerStatus status = status_;
    status.connected = up_;
    status.control_connected = control_.connected();
    const client::ReadingCounters& read = reading_.counters();
    status.undecodable += read.undecodable;
    status.seen = read.seen;
    status.recovered = read.recovered;
    status.lost_history_gone = read.lost_history_gone;
    status.lost_recovery_timeout = read.lost_recovery_timeout;
    status.gaps = read.gaps;
    status.gaps_of_unknown_size = read.gaps_of_unknown_size;
    status.duplicates = read.duplicates;
    status.late = read.late;
    status.resets = read.resets;
    status.held_bytes = reading_.held_bytes();
    return status;
  }

  void set_counters(std::vector<std::pair<std::string, std::uint64_t>> counters) {
    counters_ = std::move(counters);
  }

  void release() {
    sub_.release();
    connection_.release();
    control_.release();
  }

 private:
  [[nodiscard]] std::int64_t message_bytes_max() const {
    return static_cast<std::int64_t>(options_.max_event_bytes + message_bytes_extra);
  }

  std::size_t watch_connection() {
    using client::Connection;
    std::size_t done = 0;
    for (auto change = connection_.next(); change != Connection::Change::none; change = connection_.next()) {
      ++done;
      if (change == Connection::Change::up) {
        live_.connected();
      } else {
        live_.disconnected();
        if (std::exchange(up_, false)) listener_.on_connection(false);
      }
    }
    return done;
  }

  std::size_t check_live(Clock::time_point now) {
    const auto step = live_.step(now);
    if (!step) return 0;
    if (!step->drop.empty()) sub_.raw().set(zmq::sockopt::unsubscribe, step->drop);
    if (!step->take.empty()) {
      // After a reconnect libzmq sends all subscriptions again in byte order, as soon as the socket takes
      // notice of it. Asking for its state makes it do so before the nonce is among them, where it could
      // be answered before the others are in force.
      (void)sub_.readable();
      sub_.raw().set(zmq::sockopt::subscribe, step->take);
    }
    return 1;
  }

  std::size_t receive_events() {
    std::size_t done = 0;
    while (done < events_a_turn_max && sub_.receive(topic_)) {
      ++done;
      if (!topic_.more()) {
        undecodable();
        continue;
      }
      if (!sub_.receive(event_)) break;  // frames of one message come together
      if (event_.more()) {
        sub_.skip_rest(event_);
        undecodable();
        continue;
      }
      handle_message(text_of(topic_), bytes_of(text_of(event_)));
    }
    return done;
  }

  void handle_message(std::string_view topic, std::span<const std::byte> event) {
    const auto stamp = wire::read_stamp(event);
    if (!stamp) return undecodable();
    if (topic.starts_with(client::live_prefix)) return handle_live_answer(topic, *stamp);
    ++status_.received;
    reading_.event(topic, event, *stamp, now_);
  }

  void undecodable() {
    ++status_.received;
    ++status_.undecodable;
  }

  void handle_live_answer(std::string_view topic, const wire::Stamp& stamp) {
    // An answer from a newer connection than we know of must not count for the older one: the monitor
    // tells of a connection before anything comes through it.
    watch_connection();
    const auto proof = live_.answered(topic);
    if (!proof) return;
    reading_.live(proof->ticket, stamp.stream, stamp.position, proof->first, now_);
    if (proof->first) {
      up_ = true;
      if (was_up_) ++status_.reconnects;
      was_up_ = true;
      listener_.on_connection(true);
    }
    if (proof->ticket > told_ticket_) {
      told_ticket_ = proof->ticket;
      listener_.on_live(proof->ticket);
    }
  }

  void deliver(const Delivery& delivery) override { listener_.on_event(delivery); }
  void gap(const Gap& gap) override { listener_.on_gap(gap); }
  void reset(const Reset& reset) override { listener_.on_reset(reset); }

  [[nodiscard]] bool may_ask() const { return up_ && control_.connected(); }

  std::size_t ask_for_what_is_missing(Clock::time_point now) {
    if (!may_ask()) return 0;
    std::size_t done = 0;
    if (const auto ask = reading_.replay_wanted(now)) {
      ask_replay(*ask);
      ++done;
    }
    if (const auto ask = reading_.tails_wanted(now)) {
      ask_tails(*ask);
      ++done;
    }
    return done;
  }

  void ask_replay(const client::ReplayAsk& ask) {
    v1::ControlRequest request;
    v1::ReplayRequest& replay = *request.mutable_replay();
    replay.set_pattern(ask.pattern);
    replay.mutable_after_position()->set_stream(ask.stream);
    replay.mutable_after_position()->set_position(ask.after);
    replay.set_until_position(ask.until);
    replay.set_cursor(ask.cursor);
    control_.ask(request, options_.recovery_limit, client::ControlChannel::Urgency::now,
                 [this, number = ask.number](const Result<const v1::ControlReply*>& reply) {
                   count_timeout(reply);
                   if (!reply) return reading_.replay_failed(number, is_refusal(reply.error()), now_);
                   handle_replay(number, **reply);
                 });
  }

  void handle_replay(std::uint64_t number, const v1::ControlReply& reply) {
    using client::ReplayAnswer;
    ReplayAnswer answer;
    for (const v1::StoredEvent& stored : reply.replay().events()) {
      answer.events.push_back({stored.topic(), bytes_of(stored.event())});
    }
    if (reply.has_more()) {
      answer.end = ReplayAnswer::End::more;
      answer.cursor = reply.more().cursor();
    } else if (reply.has_gone()) {
      answer.end = ReplayAnswer::End::gone;
      answer.first_available = reply.gone().first_available();
    }
    reading_.replay_answered(number, answer, now_);
  }

  void ask_tails(const client::TailsAsk& ask) {
    v1::ControlRequest request;
    v1::TailsRequest& tails = *request.mutable_tails();
    for (const std::string& pattern : ask.patterns) tails.add_patterns(pattern);
    tails.set_after_position(ask.after);
    tails.set_cursor(ask.cursor);
    control_.ask(request, options_.control_timeout, client::ControlChannel::Urgency::now,
                 [this, number = ask.number](const Result<const v1::ControlReply*>& reply) {
                   count_timeout(reply);
                   if (!reply || (*reply)->has_gone()) return reading_.tails_failed(number, now_);
                   handle_tails(number, **reply);
                 });
  }

  void handle_tails(std::uint64_t number, const v1::ControlReply& reply) {
    client::TailsAnswer answer;
    answer.stream = reply.stream();
    answer.position = reply.position();
    for (const v1::TailsReply::Tail& tail : reply.tails().tails()) {
      answer.tails.push_back({tail.topic(), tail.position(), tail.offset()});
    }
    if (reply.has_more()) answer.cursor = reply.more().cursor();
    reading_.tails_answered(number, answer, now_);
  }

  v1::ControlRequest hello() const {
    v1::ControlRequest request;
    v1::HelloRequest& hello = *request.mutable_hello();
    hello.set_name(options_.name);
    hello.set_session(session_);
    hello.set_role(options_.role == Role::gateway ? v1::HelloRequest::ROLE_GATEWAY
                                                  : v1::HelloRequest::ROLE_CLIENT);
    for (const auto& [counter, value] : counters_) (*hello.mutable_counters())[counter] = value;
    return request;
  }

  void say_hello(Clock::time_point now) {
    if (options_.name.empty() || !control_.connected() || now < next_hello_) return;
    next_hello_ = now + hello_interval;
    said_hello_ = true;
    v1::ControlRequest request = hello();
    control_.ask(request, options_.control_timeout, client::ControlChannel::Urgency::now,
                 [this](const Result<const v1::ControlReply*>& reply) {
                   count_timeout(reply);
                   if (reply) status_.draining = (*reply)->hello().draining();
                 });
  }

  void count_timeout(const Result<const v1::ControlReply*>& reply) {
    if (!reply && reply.error().code == ErrorCode::timeout) ++status_.control_timeouts;
  }

  void ask_retained(std::uint64_t number, std::string pattern, std::string cursor) {
    v1::ControlRequest request;
    request.mutable_retained()->set_pattern(pattern);
    request.mutable_retained()->set_cursor(cursor);
    control_.ask(request, options_.control_timeout, client::ControlChannel::Urgency::patient,
                 [this, number, pattern = std::move(pattern),
                  cursor = std::move(cursor)](const Result<const v1::ControlReply*>& reply) {
                   count_timeout(reply);
                   if (!reply) return listener_.on_retained_end(number, reply.error());
                   handle_retained(number, pattern, cursor, **reply);
                 });
  }

  void handle_retained(std::uint64_t number, const std::string& pattern, const std::string& cursor,
                       const v1::ControlReply& reply) {
    for (const v1::StoredEvent& stored : reply.retained().events()) {
      const auto event = bytes_of(stored.event());
      const auto stamp = wire::read_stamp(event);
      if (!stamp || check_topic(stored.topic()) != TopicFault::none) {
        ++status_.undecodable;
        continue;
      }
      listener_.on_retained(number, Delivery{stored.topic(), event, *stamp});
    }
    if (!reply.has_more()) return listener_.on_retained_end(number, std::nullopt);
    if (reply.more().cursor().empty() || reply.more().cursor() == cursor) {
      return listener_.on_retained_end(
          number,
          Error{ErrorCode::protocol,
                fmt::format("retained values of \"{}\": the broker's cursor does not move", pattern)});
    }
    ask_retained(number, pattern, reply.more().cursor());
  }

  Options options_;
  FollowerListener& listener_;
  mq::Socket sub_;
  client::Connection connection_;
  client::ControlChannel control_;
  client::LiveCheck live_;
  client::Reading reading_;
  std::uint64_t session_;

  std::uint64_t last_ticket_{};
  std::uint64_t told_ticket_{};
  std::uint64_t last_request_{};
  Clock::time_point now_{};  // of the turn
  bool up_{};
  bool was_up_{};
  bool said_hello_{};
  Clock::time_point next_hello_{};
  std::vector<std::pair<std::string, std::uint64_t>> counters_;
  FollowerStatus status_;
  zmq::message_t topic_;  // kept from message to message
  zmq::message_t event_;
};

Follower::Follower(mq::Context& context, Options options, FollowerListener& listener)
    : impl_(std::make_unique<Impl>(context, std::move(options), listener)) {}
Follower::~Follower() = default;

std::uint64_t Follower::subscribe(std::string_view prefix) {
  return impl_->subscribe(prefix);
}
void Follower::unsubscribe(std::string_view prefix) {
  impl_->unsubscribe(prefix);
}
std::uint64_t Follower::retained(std::string_view pattern) {
  return impl_->retained(pattern);
}
std::size_t Follower::do_work(Clock::time_point now) {
  return impl_->do_work(now);
}
std::vector<int> Follower::fds() {
  return impl_->fds();
}
Clock::time_point Follower::next_deadline() const {
  return impl_->next_deadline();
}
bool Follower::pending() {
  return impl_->pending();
}
bool Follower::connected() const noexcept {
  return impl_->up();
}
FollowerStatus Follower::status() const {
  return impl_->status();
}
void Follower::release() {
  impl_->release();
}

void Follower::set_counters(std::vector<std::pair<std::string, std::uint64_t>> counters) {
  impl_->set_counters(std::move(counters));
}

}  // namespace backplane
