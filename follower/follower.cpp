#include "follower/follower.hpp"

#include <algorithm>
#include <array>
#include <span>
#include <stdexcept>

#include <fmt/format.h>

#include "backplane/v1/control.pb.h"
#include "backplane/v1/event.pb.h"
#include "backplane/v1/system.pb.h"
#include "core/process/host.hpp"
#include "core/topic/topic.hpp"
#include "core/wire/stamp.hpp"
#include "follower/broker_connections.hpp"
#include "follower/connection/fd_group.hpp"
#include "follower/connection/live_check.hpp"
#include "follower/connection/receive_queue.hpp"
#include "follower/control/control_requests.hpp"
#include "follower/control/replay_requests.hpp"
#include "follower/order/gap_repair.hpp"

namespace backplane {
namespace {

using Clock = std::chrono::steady_clock;

// A burst of events must not delay control replies and connection changes.
constexpr std::size_t events_per_turn_max = 256;
// Of messages that wait, as many as ZeroMQ's own queue has by default (BrokerConnections).
constexpr std::size_t queue_count_max = 100'000;
// What moves from ZeroMQ's queue in one turn, which costs some 50 ns each.
constexpr std::size_t queued_per_turn_max = 4096;
// Topics looked up at once: with a hundred thousand topics, several memory accesses take as long as one.
constexpr std::size_t messages_per_batch = follower::GapRepair::prefetched_max;
constexpr std::chrono::seconds hello_interval{1};
// Above the broker's own limit, because libzmq closes the connection at a larger message.
constexpr std::size_t message_bytes_extra = 64u << 10;

follower::GapRepair::Options gap_repair_options(const Follower::Options& options) {
  follower::GapRepair::Options gap_repair;
  gap_repair.recovery_limit = options.recovery_limit;
  gap_repair.reorder_buffer_bytes_max = options.reorder_buffer_bytes_max;
  gap_repair.tails_interval = options.tails_interval;
  return gap_repair;
}

/// Whether the broker replied with an error, other than that it is about to exit.
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

class Follower::Impl : private follower::GapRepairSink,
                       private follower::ReplaySink,
                       private follower::RetainedSink {
 public:
  Impl(mq::Context& context, Options options, ReaderListener& listener)
      : options_(std::move(options)),
        context_(context),
        listener_(listener),
        connections_(open_connections()),
        queue_(queue_count_max, options_.queue_bytes_max),
        live_(options_.live_retry, random_id),
        gap_repair_(gap_repair_options(options_), *this),
        replay_requests_(*this, options_.control_timeout, options_.only_broker),
        retained_requests_(*this, connections_->control(), options_.control_timeout),
        requests_(connections_->control(), options_.control_timeout),
        session_(random_id()) {
    check(options_.broker);
    fds_.add(connections_->fds());
    release();
  }

  ~Impl() override { send_goodbye(); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  std::uint64_t subscribe(std::string_view prefix) {
    CHECK(!options_.control_only, "subscriptions need a connection to egress");
    if (!reading_since_) reading_since_ = Clock::now();
    live_.require(++last_ticket_);
    if (gap_repair_.subscribe(prefix, last_ticket_))
      connections_->sub().raw().set(zmq::sockopt::subscribe, prefix);
    return last_ticket_;
  }

  void unsubscribe(std::string_view prefix) {
    if (gap_repair_.unsubscribe(prefix)) connections_->sub().raw().set(zmq::sockopt::unsubscribe, prefix);
  }

  std::uint64_t retained(std::string_view pattern) {
    retained_requests_.begin(++last_request_, pattern);
    return last_request_;
  }

  std::uint64_t replay(std::string_view pattern, const ReplayFrom& from) {
    replay_requests_.begin(++last_request_, pattern, from);
    return last_request_;
  }

  void replay_more(std::uint64_t request) { replay_requests_.more(request); }

  void cancel(std::uint64_t request) {
    retained_requests_.cancel(request);
    replay_requests_.cancel(request);
  }

  follower::ControlRequests& requests() noexcept { return requests_; }

  void assume(const StreamPositions& positions) {
    if (gap_repair_.current_stream() != 0) return;
    assumed_ = positions;
    gap_repair_.assume(positions);
  }

  void move_to(const BrokerEndpoints& broker) {
    options_.broker = broker;
    connections_->move_to(broker);
  }

  std::size_t do_work(Clock::time_point now) {
    now_ = now;
    std::size_t done = 0;
    const std::size_t received = options_.control_only ? 0 : read_egress(now, done);
    send_hello(now);
    retained_requests_.begin_turn(now);
    done += connections_->control().do_work(now);
    if (options_.control_only) {
      done += watch_control();
    } else {
      gap_repair_.tick(now, received < events_per_turn_max, up_);
    }
    done += send_requests(now);
    done += notify_key_problem();
    return done;
  }

  [[nodiscard]] std::vector<int> fds() const { return {fds_.fd()}; }

  [[nodiscard]] Clock::time_point next_deadline() const {
    auto earliest = connections_->control().next_deadline();
    if (const follower::Connection* const egress = connections_->egress())
      earliest = std::min({earliest, live_.next_deadline(), egress->next_deadline()});
    if (!options_.name.empty() && connections_->control().connected())
      earliest = std::min(earliest, next_hello_);
    if (can_request()) earliest = std::min(earliest, request_deadline());
    return options_.control_only ? earliest : std::min(earliest, gap_repair_.next_deadline());
  }

  bool pending() {
    return (!options_.control_only && live_.next_deadline() == Clock::time_point::min()) ||
           connections_->pending() || !queue_.empty() || (can_request() && request_deadline() <= now_);
  }

  [[nodiscard]] bool up() const noexcept { return up_; }
  [[nodiscard]] StreamPositions live_positions() const {
    return live_position_.stream == 0 ? StreamPositions{} : StreamPositions{live_position_};
  }

  [[nodiscard]] bool is_recovering() const noexcept { return gap_repair_.reorder_buffer_bytes() > 0; }

  [[nodiscard]] StreamPositions low_watermarks() const {
    if (gap_repair_.current_stream() == 0) return {};
    return {{gap_repair_.current_stream(), gap_repair_.low_watermark()}};
  }

  [[nodiscard]] bool may_arrive(std::string_view topic, const wire::Stamp& stamp) const {
    return gap_repair_.may_arrive(topic, stamp);
  }

  [[nodiscard]] FollowerStatus status() const {
    FollowerStatus status = status_;
    status.connected = up_;
    status.control_connected = connections_->control().connected();
    status.key_problem = connections_->keys().text();
    const follower::GapRepairCounters& counted = gap_repair_.counters();
    status.undecodable +=
        counted.undecodable + replay_requests_.undecodable() + retained_requests_.undecodable();
    status.control_timeouts += replay_requests_.timeouts() + retained_requests_.timeouts();
    status.expected = counted.expected;
    status.seen = counted.seen;
    status.recovered = counted.recovered;
    status.lost_history_gone = counted.lost_history_gone;
    status.lost_recovery_timeout = counted.lost_recovery_timeout;
    status.lost_damaged = counted.lost_damaged;
    status.lost_upstream = counted.lost_upstream;
    status.unwanted = counted.unwanted;
    status.awaited = gap_repair_.awaited();
    status.gaps = counted.gaps;
    status.gaps_of_unknown_size = counted.gaps_of_unknown_size;
    status.duplicates = counted.duplicates;
    status.late = counted.late;
    status.reorder_buffer_discarded = counted.discarded;
    status.resets = counted.resets;
    status.queue_bytes = queue_.bytes();
    status.queue_full = queue_.times_full();
    status.reorder_buffer_bytes = gap_repair_.reorder_buffer_bytes();
    return status;
  }

  void set_counters(std::vector<std::pair<std::string, std::uint64_t>> counters) {
    counters_ = std::move(counters);
  }

  void release() { connections_->release(); }

 private:
  using Message = follower::ReceiveQueue::Message;

  static void check(const BrokerEndpoints& broker) {
    for (const std::string& endpoint : {broker.egress, broker.control}) {
      if (auto good = mq::check_endpoint(endpoint, "follower"); !good) {
        throw std::invalid_argument(good.error().text);
      }
    }
  }

  [[nodiscard]] std::unique_ptr<follower::BrokerConnections> open_connections() const {
    return std::make_unique<follower::BrokerConnections>(
        context_, options_.broker, static_cast<std::int64_t>(options_.max_event_bytes + message_bytes_extra),
        !options_.control_only, /*bounds_bytes=*/options_.queue_bytes_max > 0);
  }

  /// @returns the number of events received; adds all work to `done`.
  std::size_t read_egress(Clock::time_point now, std::size_t& done) {
    done += watch_connection();
    connections_->egress()->reconnect_if_stalled(now);
    const std::size_t received = receive_events();
    done += received;
    if (received > 0) live_.on_received(now);
    if (live_.is_dead(now)) connections_->egress()->replace();
    done += check_live(now);
    return received;
  }

  /// Without egress, no live reply says where the stream is. The first reply on each connection to control
  /// does.
  std::size_t watch_control() {
    const follower::ControlChannel& control = connections_->control();
    const std::uint64_t connection = control.connected() ? control.connections() : 0;
    if (std::exchange(control_connection_, connection) == connection) return 0;
    up_ = false;
    notify_connection(false);
    if (connection != 0) request_position();
    return 1;
  }

  void request_position() {
    v1::ControlRequest request;
    request.mutable_types()->add_names(std::string(v1::Event::descriptor()->full_name()));  // a small reply
    connections_->control().send(request, options_.control_timeout, follower::ControlChannel::Urgency::urgent,
                                 [this](const Result<const v1::ControlReply*>& reply) {
                                   count_timeout(reply);
                                   if (!reply && reply.error().code == ErrorCode::timeout)
                                     return request_position();
                                   // The next connection requests it again.
                                   if (!connections_->control().connected()) return;
                                   // A broker that refuses this refuses the requests that wait, too.
                                   if (reply) live_position_ = {(*reply)->stream(), (*reply)->position()};
                                   if (std::exchange(up_, true)) return;
                                   if (std::exchange(was_up_, true)) ++status_.reconnects;
                                   notify_connection(true);
                                 });
  }

  std::size_t watch_connection() {
    using follower::Connection;
    std::size_t done = 0;
    Connection& connection = *connections_->egress();
    for (auto change = connection.next(); change != Connection::Change::none; change = connection.next()) {
      ++done;
      if (change == Connection::Change::up) {
        live_.on_connected(now_);
      } else {
        live_.on_disconnected();
        gap_repair_.on_disconnected();
        up_ = false;
        notify_connection(false);
      }
    }
    return done;
  }

  void notify_connection(bool up) {
    if (std::exchange(notified_up_, up) != up) listener_.on_connection(up);
  }

  std::size_t notify_key_problem() {
    const mq::KeyCheck& keys = connections_->keys();
    if (std::exchange(key_problem_, keys.problem()) == keys.problem()) return 0;
    if (keys.problem() == mq::KeyProblem::none) return 0;
    listener_.on_key_problem(keys.text());
    return 1;
  }

  std::size_t check_live(Clock::time_point now) {
    const auto step = live_.step(now);
    if (!step) return 0;
    if (!step->unsubscribe.empty())
      connections_->sub().raw().set(zmq::sockopt::unsubscribe, step->unsubscribe);
    if (!step->subscribe.empty()) {
      // After a reconnect, libzmq sends all subscriptions again in byte order, as soon as the socket notices
      // it. Reading the socket's state makes it notice now, before the nonce is among them. Otherwise the
      // broker could reply to the nonce before the other subscriptions are active.
      (void)connections_->sub().readable();
      connections_->sub().raw().set(zmq::sockopt::subscribe, step->subscribe);
    }
    return 1;
  }

  std::size_t receive_events() {
    std::size_t done = 0;
    for (std::size_t count = messages_.size(); count == messages_.size() && done < events_per_turn_max;) {
      count = 0;
      while (count < messages_.size() && receive(messages_[count], done)) ++count;
      const std::span<Message> messages = std::span(messages_).first(count);
      std::array<std::string_view, messages_per_batch> topics;
      std::transform(messages.begin(), messages.end(), topics.begin(),
                     [](const Message& each) { return text_of(each.topic); });
      gap_repair_.prefetch(std::span(topics).first(count));
      for (const Message& each : messages) prefetch_event(text_of(each.event));
      for (Message& each : messages) {
        handle_message(text_of(each.topic), bytes_of(text_of(each.event)));
        each.topic.rebuild();  // otherwise the last ones would keep their memory until more arrive
        each.event.rebuild();
      }
    }
    if (done == events_per_turn_max) queue_the_rest();
    return done;
  }

  /// Takes what ZeroMQ has received over into queue_, which knows its bytes. If it is full, the rest stays
  /// where it is: ZeroMQ's queue fills up, then the network, then the broker's queue for this reader. What
  /// the broker drops after that is found and recovered, or announced, as every other loss.
  void queue_the_rest() {
    std::size_t taken = 0;
    Message message;
    while (!queue_.is_full() && taken < queued_per_turn_max &&
           receive_from_socket(message, taken, queued_per_turn_max)) {
      queue_.push(std::exchange(message, {}));
    }
  }

  /// Prefetches the beginning and the stamp of an event, which another thread has just written.
  static void prefetch_event(std::string_view event) {
    __builtin_prefetch(event.data());
    __builtin_prefetch(event.data() + event.size());
  }

  /// Receives the next message of [topic][event]. Other messages are counted and skipped.
  /// @returns whether there was one.
  bool receive(Message& into, std::size_t& done) {
    if (queue_.empty()) return receive_from_socket(into, done, events_per_turn_max);
    if (done == events_per_turn_max) return false;
    into = queue_.pop();
    ++done;
    return true;
  }

  bool receive_from_socket(Message& into, std::size_t& done, std::size_t done_max) {
    mq::Socket& sub = connections_->sub();
    while (done < done_max && sub.receive(into.topic)) {
      ++done;
      if (into.topic.more() && sub.receive(into.event)) {  // frames of one message arrive together
        if (!into.event.more()) return true;
        sub.skip_rest(into.event);
      }
      undecodable();
    }
    return false;
  }

  void handle_message(std::string_view topic, std::span<const std::byte> event) {
    const auto stamp = wire::read_stamp(event);
    if (!stamp) return undecodable();
    if (topic.starts_with(follower::live_prefix)) return handle_live_reply(topic, event, *stamp);
    ++status_.received;
    gap_repair_.on_event(topic, event, *stamp, now_);
  }

  void undecodable() {
    ++status_.received;
    ++status_.undecodable;
  }

  void handle_live_reply(std::string_view topic, std::span<const std::byte> event, const wire::Stamp& stamp) {
    // A reply on a connection that has not been noticed yet must not count for the one before. The monitor
    // reports a connection before anything arrives through it.
    watch_connection();
    const auto confirmation = live_.on_reply(topic);
    if (!confirmation) return;
    const std::uint64_t begin = position_to_begin(event, stamp);
    gap_repair_.on_live_reply(confirmation->ticket, stamp.stream, begin, confirmation->first, now_);
    if (confirmation->first && (was_up_ || begin < stamp.position)) gap_repair_.doubt_until(stamp.position);
    live_position_ = {stamp.stream, begin};
    if (confirmation->first) {
      up_ = true;
      if (was_up_) ++status_.reconnects;
      was_up_ = true;
      notify_connection(true);
    }
    if (confirmation->ticket > notified_ticket_) {
      notified_ticket_ = confirmation->ticket;
      listener_.on_live(confirmation->ticket);
    }
  }

  /// Reading begins at the live reply, except of a stream that is seen for the first time: of one that was
  /// assumed to be known, it continues, and one that began after the reading did is read from its beginning.
  std::uint64_t position_to_begin(std::span<const std::byte> event, const wire::Stamp& stamp) {
    const std::uint64_t current = gap_repair_.current_stream();
    if (current != 0 && origin(current) == origin(stamp.stream)) return stamp.position;
    if (current == 0) {
      if (const auto known = position_in(assumed_, stamp.stream)) return std::min(*known, stamp.position);
    }
    const auto age = age_of(event);
    if (!age) return current != 0 && options_.only_broker ? 0 : stamp.position;
    return reading_since_ && *age < now_ - *reading_since_ ? 0 : stamp.position;
  }

  /// How long ago the stream began, by the broker's own clock; none: the broker does not say.
  static std::optional<std::chrono::nanoseconds> age_of(std::span<const std::byte> event) {
    v1::Event parsed;
    v1::LiveAnswer reply;
    if (!parsed.ParseFromArray(event.data(), static_cast<int>(event.size())) ||
        !parsed.message().UnpackTo(&reply) || reply.age_ns() == 0) {
      return std::nullopt;
    }
    return std::chrono::nanoseconds{reply.age_ns()};
  }

  void deliver(const Delivery& delivery) override { listener_.on_event(delivery); }
  void gap(const Gap& gap) override { listener_.on_gap(gap); }
  void reset(const Reset& reset) override {
    // Events published before our subscriptions were active again belong to the new stream and can be
    // recovered.
    live_position_ = {reset.new_stream, 0};
    listener_.on_reset(reset);
  }
  void replayed(std::uint64_t number, const Delivery& delivery) override {
    listener_.on_replayed(number, delivery);
  }
  void replayed_gap(std::uint64_t number, const Gap& gap) override { listener_.on_replayed_gap(number, gap); }
  void replay_slice(std::uint64_t number, const ReplaySlice& slice) override {
    listener_.on_replay_slice(number, slice);
  }
  void retained(std::uint64_t number, const Delivery& delivery) override {
    listener_.on_retained(number, delivery);
  }
  void retained_end(std::uint64_t number, const RetainedEnd& end) override {
    listener_.on_retained_end(number, end);
  }

  [[nodiscard]] bool can_request() const { return up_ && connections_->control().connected(); }

  [[nodiscard]] Clock::time_point request_deadline() const {
    const auto deadline = replay_requests_.request_deadline();
    return options_.control_only ? deadline : std::min(deadline, gap_repair_.request_deadline());
  }

  std::size_t send_requests(Clock::time_point now) {
    if (!can_request()) return 0;
    std::size_t done = options_.control_only ? 0 : send_repairs(now);
    done += replay_requests_.send(connections_->control(), live_position_, now);
    return done;
  }

  std::size_t send_repairs(Clock::time_point now) {
    std::size_t done = 0;
    if (const auto request = gap_repair_.next_replay(now)) {
      send_replay(*request);
      ++done;
    }
    if (const auto request = gap_repair_.next_tails(now)) {
      send_tails(*request);
      ++done;
    }
    return done;
  }

  void send_replay(const follower::ReplayRequest& from) {
    v1::ControlRequest request;
    v1::ReplayRequest& replay = *request.mutable_replay();
    replay.set_pattern(from.pattern);
    replay.mutable_after_position()->set_stream(from.stream);
    replay.mutable_after_position()->set_position(from.after);
    replay.set_until_position(from.until);
    replay.set_cursor(from.cursor);
    connections_->control().send(
        request, options_.recovery_limit, follower::ControlChannel::Urgency::urgent,
        [this, number = from.number](const Result<const v1::ControlReply*>& reply) {
          count_timeout(reply);
          if (!reply) return gap_repair_.on_replay_failed(number, is_refusal(reply.error()), now_);
          handle_replay(number, **reply);
        },
        [this, number = from.number] { gap_repair_.on_replay_progress(number, now_); });
  }

  void handle_replay(std::uint64_t number, const v1::ControlReply& reply) {
    using follower::ReplayReply;
    ReplayReply converted;
    for (const v1::StoredEvent& stored : reply.replay().events()) {
      converted.events.push_back({stored.topic(), bytes_of(stored.event())});
    }
    for (const v1::DestroyedEvents& each : reply.replay().destroyed()) {
      converted.destroyed.push_back({each.topic(), each.first_offset(), each.last_offset(), each.upstream()});
    }
    if (reply.has_more()) {
      converted.end = ReplayReply::End::more;
      converted.cursor = reply.more().cursor();
    } else if (reply.has_gone()) {
      converted.end = ReplayReply::End::gone;
      converted.first_available = reply.gone().first_available();
    }
    gap_repair_.on_replay_reply(number, converted, now_);
  }

  void send_tails(const follower::TailsRequest& from) {
    v1::ControlRequest request;
    v1::TailsRequest& tails = *request.mutable_tails();
    for (const std::string& pattern : from.patterns) tails.add_patterns(pattern);
    tails.set_after_position(from.after);
    tails.set_cursor(from.cursor);
    connections_->control().send(request, options_.control_timeout, follower::ControlChannel::Urgency::urgent,
                                 [this, number = from.number](const Result<const v1::ControlReply*>& reply) {
                                   count_timeout(reply);
                                   if (!reply || (*reply)->has_gone())
                                     return gap_repair_.on_tails_failed(number, now_);
                                   handle_tails(number, **reply);
                                 });
  }

  void handle_tails(std::uint64_t number, const v1::ControlReply& reply) {
    follower::TailsReply converted;
    converted.stream = reply.stream();
    converted.position = reply.position();
    for (const v1::TailsReply::Tail& tail : reply.tails().tails()) {
      converted.tails.push_back({tail.topic(), tail.position(), tail.offset()});
    }
    if (reply.has_more()) converted.cursor = reply.more().cursor();
    gap_repair_.on_tails_reply(number, converted, now_);
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

  void send_goodbye() {
    if (!std::exchange(hello_sent_, false)) return;
    v1::ControlRequest request = hello();
    request.mutable_hello()->set_closing(true);
    connections_->control().post(request);
  }

  void send_hello(Clock::time_point now) {
    if (options_.name.empty() || !connections_->control().connected() || now < next_hello_) return;
    next_hello_ = now + hello_interval;
    hello_sent_ = true;
    v1::ControlRequest request = hello();
    connections_->control().send(request, options_.control_timeout, follower::ControlChannel::Urgency::urgent,
                                 [this](const Result<const v1::ControlReply*>& reply) {
                                   count_timeout(reply);
                                   if (!reply) return;
                                   const v1::HelloReply& hello = (*reply)->hello();
                                   status_.draining = hello.draining();
                                   status_.store = {hello.store().begin(), hello.store().end()};
                                 });
  }

  void count_timeout(const Result<const v1::ControlReply*>& reply) {
    if (!reply && reply.error().code == ErrorCode::timeout) ++status_.control_timeouts;
  }

  Options options_;
  mq::Context& context_;
  ReaderListener& listener_;
  std::unique_ptr<follower::BrokerConnections> connections_;
  follower::ReceiveQueue queue_;
  follower::FdGroup fds_;
  follower::LiveCheck live_;
  follower::GapRepair gap_repair_;
  follower::ReplayRequests replay_requests_;
  follower::RetainedRequests retained_requests_;
  follower::ControlRequests requests_;
  std::uint64_t session_;

  std::uint64_t last_ticket_{};
  std::uint64_t notified_ticket_{};
  std::uint64_t last_request_{};
  StreamPosition live_position_;  // where reading of what was subscribed to last began
  StreamPositions assumed_;       // as assume() says
  std::optional<Clock::time_point> reading_since_;
  Clock::time_point now_{};  // of the turn
  bool up_{};
  bool notified_up_{};
  std::uint64_t control_connection_{};                // with control_only; 0: none
  mq::KeyProblem key_problem_{mq::KeyProblem::none};  // that was last reported, if there is one
  bool was_up_{};
  bool hello_sent_{};
  Clock::time_point next_hello_{};
  std::vector<std::pair<std::string, std::uint64_t>> counters_;
  FollowerStatus status_;
  std::array<Message, messages_per_batch> messages_;
};

FollowerStatus& FollowerStatus::operator+=(const FollowerStatus& other) noexcept {
  for (const auto counter : {&FollowerStatus::received,
                             &FollowerStatus::undecodable,
                             &FollowerStatus::reconnects,
                             &FollowerStatus::control_timeouts,
                             &FollowerStatus::expected,
                             &FollowerStatus::seen,
                             &FollowerStatus::recovered,
                             &FollowerStatus::lost_history_gone,
                             &FollowerStatus::lost_recovery_timeout,
                             &FollowerStatus::lost_damaged,
                             &FollowerStatus::lost_upstream,
                             &FollowerStatus::unwanted,
                             &FollowerStatus::awaited,
                             &FollowerStatus::gaps,
                             &FollowerStatus::gaps_of_unknown_size,
                             &FollowerStatus::duplicates,
                             &FollowerStatus::late,
                             &FollowerStatus::resets,
                             &FollowerStatus::reorder_buffer_discarded,
                             &FollowerStatus::queue_full}) {
    this->*counter += other.*counter;
  }
  queue_bytes += other.queue_bytes;
  reorder_buffer_bytes += other.reorder_buffer_bytes;
  return *this;
}

Follower::Follower(mq::Context& context, Options options, ReaderListener& listener)
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
std::uint64_t Follower::replay(std::string_view pattern, const ReplayFrom& from) {
  return impl_->replay(pattern, from);
}
void Follower::replay_more(std::uint64_t request) {
  impl_->replay_more(request);
}
void Follower::cancel(std::uint64_t request) {
  impl_->cancel(request);
}
void Follower::topics(std::string_view pattern, std::string_view cursor,
                      std::function<void(Result<TopicsPage>)> handler) {
  impl_->requests().topics(pattern, cursor, std::move(handler));
}
void Follower::types(const std::vector<std::string>& names, std::function<void(Result<TypesReply>)> handler) {
  impl_->requests().types(names, std::move(handler));
}
void Follower::assume(const StreamPositions& positions) {
  impl_->assume(positions);
}
void Follower::move_to(const BrokerEndpoints& broker) {
  impl_->move_to(broker);
}
void Follower::stats(std::function<void(Result<BrokerStats>)> handler) {
  impl_->requests().stats(std::move(handler));
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
StreamPositions Follower::live_positions() const {
  return impl_->live_positions();
}
std::size_t Follower::broker() const noexcept {
  return 0;
}
bool Follower::is_recovering() const noexcept {
  return impl_->is_recovering();
}
StreamPositions Follower::low_watermarks() const {
  return impl_->low_watermarks();
}
bool Follower::may_arrive(std::string_view topic, const wire::Stamp& stamp) const {
  return impl_->may_arrive(topic, stamp);
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
