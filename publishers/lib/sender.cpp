#include "publishers/lib/sender.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <poll.h>

#include "core/error/error.hpp"
#include "core/process/host.hpp"
#include "core/time/deadline.hpp"
#include "publishers/lib/event_encoder.hpp"

namespace backplane::publishing {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds hello_interval{1000};
constexpr milliseconds admitted_interval{100};
// With several brokers, a publisher must notice soon that the one in use is silent.
constexpr milliseconds request_interval{200};
// After reply_timeout a request counts as lost and is sent again. How long a broker may be silent is up to
// BrokerList::patience().
constexpr milliseconds reply_timeout{1000};
// With one broker, how long it may neither confirm nor take anything before another connection is tried.
constexpr milliseconds stall_max{15'000};
constexpr milliseconds look_interval{1000};
constexpr milliseconds return_time_max{1000};
// A draining broker reads until 200 ms of quiet. What it has not confirmed by then it will not confirm.
constexpr milliseconds drain_time_max{1000};
constexpr milliseconds goodbye_time{500};
// What a broker accepts in one registration, and the bytes that its control endpoint accepts above its event
// limit (less some for the request around the files).
constexpr std::size_t types_bytes_max = 128u << 10;
constexpr std::size_t types_files_max = 512;
constexpr std::size_t control_bytes_above_event = 63u << 10;

/// The broker's reason code, with its meaning if that is about the user.
std::string refusal_text(const std::string& code) {
  if (code == "not_permitted") return "not_permitted: this user may not publish to the event's topic";
  return code;
}

constexpr std::chrono::steady_clock::time_point never = std::chrono::steady_clock::time_point::max();

}  // namespace

Sender::Sender(mq::Context& context, const Publisher::Options& options, const mq::SharedKeys& keys,
               std::uint64_t session, Outbox& outbox, const TypeDefinitions& types)
    : context_(context),
      options_(options),
      keys_(keys),
      session_(session),
      outbox_(outbox),
      types_(types),
      list_(options.brokers.size()),
      earlier_(context, options.brokers, keys, options.source),
      highest_sent_(options.resume ? options.resume->sequence : 0),
      session_sent_max_(options.resume ? options.resume->sent_max : 0) {
  for (const PublisherEndpoints& each : options.brokers) key_checks_.emplace_back(keys, each.ingress);
  connect(Clock::now());
  connection_->release();
}

void Sender::run() {
  while (!outbox_.view().stop_requested) {
    try {
      const bool more = work(Clock::now());
      notify_change();
      if (!more) sleep();
    } catch (const std::exception& error) {  // for example too many open files, which may pass
      disconnect(Clock::now(), BrokerList::Loss::unusable, error.what());
    }
  }
  // The broker may have the first Hello already, although its reply is not here yet.
  if (connection_) say_goodbye();
  connection_.reset();
  earlier_.watch(0);  // closes its sockets on this thread
  outbox_.mark_stopped();
  notify_change();
}

bool Sender::work(Clock::time_point now) {
  if (phase_ == Phase::offline) {
    if (now < list_.retry_at()) return false;
    connect(now);
  }
  if (connection_->disconnected()) {
    on_disconnected(now);
    return false;
  }
  if (drained() || (phase_ == Phase::draining && now >= phase_deadline_)) {
    disconnect(now, BrokerList::Loss::unusable,
               fmt::format("the broker at {} is shutting down", broker().ingress));
    return false;
  }
  const bool subscribed = connection_->subscribed();
  read_replies(now);
  if (!connection_) return false;
  if (phase_ == Phase::connecting && subscribed && said_hello_) on_connected(now);
  if (phase_ == Phase::connecting && now >= phase_deadline_) {
    disconnect(now, BrokerList::Loss::unusable,
               subscribed ? fmt::format("no reply from {}", broker().control)
                          : fmt::format("{} accepts connections but does not subscribe", broker().ingress));
    return false;
  }
  if (awaiting_reply_since_ && now - *awaiting_reply_since_ >= list_.patience()) {
    disconnect(now, BrokerList::Loss::unusable, fmt::format("no reply from {}", broker().control));
    return false;
  }
  if (!makes_progress(now)) {
    disconnect(now, BrokerList::Loss::unusable,
               fmt::format("{} does not confirm what was sent to {}", broker().control, broker().ingress));
    return false;
  }
  consider_return(now);
  if (!connection_) return false;
  const bool more = phase_ == Phase::sending && send_events(now);
  send_requests(now);
  return more || drained();
}

bool Sender::drained() const {
  const Outbox::View view = outbox_.view();
  return phase_ == Phase::draining && view.sent == view.confirmed;
}

void Sender::connect(Clock::time_point now) {
  connection_ = std::make_unique<PublisherConnection>(context_, addresses(), keys_);
  phase_ = Phase::connecting;
  phase_deadline_ = now + list_.patience();
  connecting_since_ = now;
  connection_stream_.reset();
  said_hello_ = false;
  sent_on_connection_ = false;
  blocked_ = false;
  acknowledged_bytes_ = 0;
  connections_max_.reset();
  broker_event_bytes_max_.reset();
  first_request_id_ = next_id_;
  awaiting_reply_since_.reset();
  admitted_request_id_.reset();
  flush_target_ = 0;
  registered_files_ = 0;
  types_request_id_.reset();
  types_awaited_since_.reset();
  events_await_types_ = false;
  // The reply says how large an event may be, so it must come before the first event is sent: libzmq at the
  // broker cuts the connection if an event is far above the limit.
  send_hello(now, /*closing=*/false);
  awaiting_reply_since_.reset();  // phase_deadline_ covers it
}

BrokerAddresses& Sender::addresses() {
  return addresses_.try_emplace(list_.current(), broker()).first->second;
}

void Sender::drop_connection() {
  if (sent_on_connection_) {
    sent_to_stream_ = connection_stream_;
    // The broker has not read anything of it, because its store is full, say; but it will.
    if (connection_stream_ && !connections_max_) ++connections_by_stream_[*connection_stream_];
  }
  sent_on_connection_ = false;
  awaiting_reply_since_.reset();
  connection_.reset();
  phase_ = Phase::offline;
}

void Sender::disconnect(Clock::time_point now, BrokerList::Loss loss, const std::string& problem,
                        bool about_keys) {
  const bool was_connected = phase_ != Phase::connecting && phase_ != Phase::offline;
  drop_connection();
  if (was_connected) {
    list_.on_lost(loss, now);
  } else if (addresses().next()) {
    list_.on_failed(loss, now);
  } else {
    list_.choose(list_.current(), now);  // it has other addresses
  }
  const PublisherStatus before = outbox_.status();
  const bool is_known = !about_keys || before.key_problem == problem;
  if (!before.ready && !before.draining && before.last_problem == problem && is_known) return;
  outbox_.change_status([&](PublisherStatus& status) {
    status.ready = false;
    status.draining = false;
    status.last_problem = problem;
    if (about_keys) status.key_problem = problem;
  });
}

void Sender::on_disconnected(Clock::time_point now) {
  if (connection_->connected()) key_check().on_connected();
  key_check().on_failure(connection_->failure(), addresses().ingress(), now);
  std::string problem = key_check().text();
  const bool about_keys = !problem.empty();
  if (phase_ == Phase::connecting && key_check().is_undecided()) {
    problem = outbox_.status().last_problem;
  } else if (!about_keys) {
    problem = phase_ == Phase::connecting ? fmt::format("cannot connect to {}", broker().ingress)
                                          : fmt::format("lost the connection to {}", broker().ingress);
  }
  disconnect(now, BrokerList::Loss::disconnected, problem, about_keys);
}

void Sender::on_connected(Clock::time_point now) {
  key_check().on_connected();
  list_.on_connected(now - connecting_since_);
  earlier_.watch(list_.current());
  progress_at_ = now;
  phase_ = session_sent_max_ > outbox_.view().confirmed ? Phase::resuming : Phase::sending;
  admitted_requested_at_ = now - admitted_interval;
  outbox_.change_status([&](PublisherStatus& status) {
    status.ready = true;
    status.last_problem.clear();
    status.key_problem.clear();
    if (was_ready_) ++status.reconnects;
  });
  was_ready_ = true;
}

bool Sender::makes_progress(Clock::time_point now) {
  const Outbox::View view = outbox_.view();
  const bool waiting = phase_ == Phase::sending && (view.sent > view.confirmed || blocked_);
  if (!waiting) progress_at_ = now;
  // Only the one broker gets the time that a large event takes on a slow path.
  if (waiting && alone() && now >= look_at_) {
    look_at_ = now + look_interval;
    const std::uint64_t acknowledged = connection_->acknowledged_bytes();
    if (acknowledged > std::exchange(acknowledged_bytes_, acknowledged)) progress_at_ = now;
  }
  return now - progress_at_ < confirmation_patience();
}

/// The broker may reply on control while the connection for events is dead, of which the kernel learns late.
milliseconds Sender::confirmation_patience() const {
  return alone() ? stall_max : list_.patience();
}

/// Readers follow all brokers of their list, but an operator expects publishers at the first one.
void Sender::consider_return(Clock::time_point now) {
  earlier_.work(now);
  if (const auto earlier = earlier_.recovered(now); earlier && phase_ == Phase::sending) {
    return_to_ = *earlier;
    phase_ = Phase::returning;
    phase_deadline_ = now + return_time_max;
    fast_interval_ = milliseconds{0};
  }
  if (phase_ == Phase::returning) finish_return(now);
}

/// Moves once everything that was sent here is confirmed, so that no event is in doubt.
void Sender::finish_return(Clock::time_point now) {
  const Outbox::View view = outbox_.view();
  if (view.sent > view.confirmed) {
    if (now < phase_deadline_) return;
    earlier_.doubt();
    phase_ = Phase::sending;
    return;
  }
  say_goodbye();
  drop_connection();
  list_.choose(return_to_, now);
}

/// Waits for the broker's reply. If the connection were closed with replies unread, the kernel would reset
/// it, and the broker might lose the Hello.
void Sender::say_goodbye() {
  const std::uint64_t id = next_id_;
  send_hello(Clock::now(), /*closing=*/true);
  connection_->linger(goodbye_time);
  const Clock::time_point deadline = Clock::now() + goodbye_time;
  zmq::message_t frame;
  while (!connection_->disconnected()) {
    (void)connection_->subscribed();  // reads what the data socket has received
    while (connection_->receive_reply(frame)) {
      if (const auto reply = decode_reply(frame.to_string_view()); reply && reply->id == id) return;
    }
    const Clock::time_point now = Clock::now();
    if (now >= deadline) return;
    std::array<pollfd, 2> descriptors{
        {{connection_->control_fd(), POLLIN, 0}, {connection_->monitor_fd(), POLLIN, 0}}};
    if (!connection_->readable()) ::poll(descriptors.data(), descriptors.size(), poll_timeout(deadline, now));
  }
}

void Sender::read_replies(Clock::time_point now) {
  zmq::message_t frame;
  while (connection_ && connection_->receive_reply(frame)) {
    const auto reply = decode_reply(frame.to_string_view());
    if (!reply) {
      set_problem(fmt::format("{}: expected a ControlReply, got {} bytes that do not parse", broker().control,
                              frame.size()));
    } else if (reply->id >= first_request_id_ && reply->id < next_id_) {
      on_reply(*reply, now);
    }
  }
}

void Sender::on_reply(const BrokerReply& reply, Clock::time_point now) {
  awaiting_reply_since_.reset();
  const bool is_admitted = admitted_request_id_ && reply.id == *admitted_request_id_;
  if (is_admitted) admitted_request_id_.reset();
  if (types_request_id_ && reply.id == *types_request_id_) {
    on_types(reply);
  } else if (!reply.error.empty()) {
    return on_refused(reply, is_admitted && reply.id >= session_first_id_, now);
  }
  if (connection_stream_ && *connection_stream_ != reply.stream) {
    // The broker restarted before the end of the old connection was noticed.
    disconnect(now, BrokerList::Loss::disconnected,
               fmt::format("the broker at {} has restarted", broker().control));
    return;
  }
  connection_stream_ = reply.stream;
  if (!reply.error.empty()) return;
  if (reply.hello) {
    said_hello_ = true;
    if (reply.hello->max_event_bytes > 0) {
      broker_event_bytes_max_ = reply.hello->max_event_bytes;
      if (!options_.number_too_large) {
        outbox_.limit_event_bytes(std::min(options_.max_event_bytes, *broker_event_bytes_max_));
      }
    }
  }
  if (reply.draining && phase_ == Phase::connecting) {
    disconnect(now, BrokerList::Loss::unusable,
               fmt::format("the broker at {} is shutting down", broker().ingress));
    return;
  }
  if (reply.draining && phase_ != Phase::draining) {
    // Stop sending: once it is quiet the broker exits sooner, and it still confirms what it has read.
    phase_ = Phase::draining;
    phase_deadline_ = now + drain_time_max;
    outbox_.change_status([](PublisherStatus& status) { status.draining = true; });
  }
  if (reply.admitted && reply.id >= session_first_id_) on_admitted(*reply.admitted, reply.stream, now);
}

/// @param admitted  whether the request was about what is admitted of this session
void Sender::on_refused(const BrokerReply& reply, bool admitted, Clock::time_point now) {
  const std::string problem = fmt::format("{} refused a request: {}", broker().control, reply.error);
  if (!reply.error.starts_with("not_permitted: ")) return set_problem(problem);
  // The session belongs to another user, so nobody can know what is admitted of it.
  if (admitted) return change_session(fmt::format("refused a request about it: {}", reply.error));
  if (phase_ != Phase::connecting) return set_problem(problem);
  // Without a reply to Hello there is no connection, so this is like a key that the broker does not admit.
  disconnect(now, BrokerList::Loss::unusable, problem, /*about_keys=*/true);
}

void Sender::on_admitted(const BrokerReply::Admitted& admitted, std::uint64_t stream, Clock::time_point now) {
  const std::uint64_t before = outbox_.view().confirmed;
  const std::uint64_t dealt_with = std::max(admitted.sequence, admitted.refused_sequence);
  if (dealt_with > session_sent_max_) {
    return change_session(fmt::format("has event {}, we have sent {}", dealt_with, session_sent_max_));
  }
  if (is_shared(admitted, stream)) {
    return change_session(fmt::format("got events by {} connections, of which {} may be ours",
                                      admitted.connections, *connections_max_));
  }
  count_refusals(admitted, stream);
  if (phase_ == Phase::resuming) count_in_doubt(admitted, stream);
  // An earlier run may have sent more than was offered again by now; see send_events().
  session_admitted_ = std::max(session_admitted_, dealt_with);
  confirm(session_admitted_);
  if (phase_ == Phase::resuming) {
    refused_locally_.clear();
    outbox_.rewind();
    phase_ = Phase::sending;
  }
  const bool progress = outbox_.view().confirmed > before;
  if (progress) progress_at_ = now;
  fast_interval_ =
      progress ? milliseconds{1} : std::clamp(2 * fast_interval_, milliseconds{1}, admitted_interval);
}

/// Somebody else has sent events of this session. Whether ours were admitted or refused as duplicates of
/// theirs cannot be known.
void Sender::change_session(const std::string& evidence) {
  add_in_doubt();
  session_ = random_id();
  session_first_id_ = next_id_;
  session_sent_max_ = 0;
  session_admitted_ = 0;
  sent_to_stream_.reset();
  sent_on_connection_ = false;
  refused_by_stream_.clear();
  connections_by_stream_.clear();
  connections_max_.reset();
  refused_locally_.clear();
  admitted_request_id_.reset();
  outbox_.change_session(encode_head(options_.source, session_), session_);
  if (phase_ == Phase::resuming) phase_ = Phase::sending;
  hello_at_ = Clock::now();
  set_problem(
      fmt::format("another program publishes as {} in our session: the broker at {} {}; continuing in a new "
                  "session",
                  options_.source, broker().ingress, evidence));
}

/// Whether another program has sent events of this session. The broker counts the connections by which the
/// session's events came, and this connection adds one to those before it.
bool Sender::is_shared(const BrokerReply::Admitted& admitted, std::uint64_t stream) {
  if (!connections_max_) {
    std::uint32_t& earlier = connections_by_stream_[stream];
    if (phase_ == Phase::resuming) {
      // Nothing has been sent on this connection. An earlier run may have sent events that are still to be
      // read.
      const bool earlier_run = options_.resume && options_.resume->session == session_ && earlier == 0;
      earlier = std::max(earlier, admitted.connections + (earlier_run ? 1 : 0));
    }
    connections_max_ = ++earlier;
  }
  return admitted.connections > *connections_max_;
}

void Sender::count_in_doubt(const BrokerReply::Admitted& admitted, std::uint64_t stream) {
  const std::uint64_t confirmed = outbox_.view().confirmed;
  const bool knows_session = admitted.sequence > 0 || admitted.refused_sequence > 0;
  // If no reply came on the previous connection, the session decides: it is random, so only the incarnation
  // that has seen it can know it.
  const bool remembers =
      sent_to_stream_ ? *sent_to_stream_ == stream && (knows_session || confirmed == 0) : knows_session;
  if (!remembers) add_in_doubt();
}

void Sender::add_in_doubt() {
  const std::uint64_t from = std::max(outbox_.view().confirmed, in_doubt_counted_);
  if (from >= highest_sent_) return;
  outbox_.change_status([&](PublisherStatus& status) { status.in_doubt += highest_sent_ - from; });
  in_doubt_counted_ = highest_sent_;
}

void Sender::count_refusals(const BrokerReply::Admitted& admitted, std::uint64_t stream) {
  std::uint64_t& known = refused_by_stream_[stream];
  if (admitted.refused <= known) return;
  const std::uint64_t more = admitted.refused - std::exchange(known, admitted.refused);
  outbox_.change_status([&](PublisherStatus& status) {
    status.refused += more;
    status.last_problem =
        fmt::format("the broker refused {} events, most recently event {}: {}", status.refused,
                    admitted.refused_sequence, refusal_text(admitted.refused_reason));
  });
}

void Sender::confirm(std::uint64_t sequence) {
  while (!refused_locally_.empty() && refused_locally_.front() <= sequence + 1) {
    sequence = std::max(sequence, refused_locally_.front());
    refused_locally_.pop_front();
  }
  outbox_.confirm(sequence);
}

void Sender::send_requests(Clock::time_point now) {
  if (phase_ == Phase::connecting) return;
  if (now >= hello_at_) send_hello(now, /*closing=*/false);
  const Outbox::View view = outbox_.view();
  if (view.flush_target != flush_target_) {
    flush_target_ = view.flush_target;
    fast_interval_ = milliseconds{0};
  }
  if (now < next_admitted_request(view)) return;
  admitted_request_id_ = next_id_;
  admitted_requested_at_ = now;
  send_request(encode_admitted(next_id_, options_.source, session_), now);
}

void Sender::send_hello(Clock::time_point now, bool closing) {
  if (const std::string problem = types_.problem();
      !problem.empty() && !std::exchange(types_limit_reported_, true)) {
    set_problem(problem);
  }
  const PublisherStatus status = outbox_.status();
  Counters counters = outbox_.counters();
  counters.emplace_back("offered", status.offered);
  counters.emplace_back("confirmed", status.confirmed);
  counters.emplace_back("refused", status.refused);
  counters.emplace_back("resent", status.resent);
  send_request(encode_hello(next_id_, options_.source, session_, closing, counters), now);
  hello_at_ = now + hello_interval;
}

void Sender::send_request(const std::string& request, Clock::time_point now) {
  ++next_id_;
  requested_at_ = now;
  if (!awaiting_reply_since_) awaiting_reply_since_ = now;
  // If the queue is full, the broker does not reply; the deadlines detect that.
  [[maybe_unused]] const bool sent = connection_->send_request(request);
}

Sender::Clock::time_point Sender::next_admitted_request(const Outbox::View& view) const {
  if (admitted_request_id_) return admitted_requested_at_ + reply_timeout;
  if (phase_ == Phase::resuming) return admitted_requested_at_ + admitted_interval;
  if (view.sent <= view.confirmed) return alone() ? never : requested_at_ + request_interval;
  const bool awaited = view.flush_target > view.confirmed && view.sent >= view.flush_target;
  const bool fast = awaited || phase_ == Phase::draining || phase_ == Phase::returning;
  return admitted_requested_at_ + (fast ? fast_interval_ : admitted_interval);
}

bool Sender::register_types(Clock::time_point now) {
  if (registered_files_ == types_.file_count()) {
    types_awaited_since_.reset();
    return true;
  }
  if (!types_awaited_since_) types_awaited_since_ = now;
  // The first reply on a connection says how large a request may be.
  if (connection_stream_ && (!types_request_id_ || now - types_requested_at_ >= reply_timeout))
    send_type_registration(now);
  // After the timeout, send the events: better undecoded for some readers than late for all.
  return registered_files_ == types_.file_count() || now - *types_awaited_since_ >= reply_timeout;
}

void Sender::send_type_registration(Clock::time_point now) {
  const std::size_t bytes_max =
      broker_event_bytes_max_
          ? std::min(types_bytes_max, *broker_event_bytes_max_ + control_bytes_above_event)
          : control_bytes_above_event;
  while (registered_files_ < types_.file_count()) {
    const TypeDefinitions::Slice slice = types_.files_from(registered_files_, bytes_max, types_files_max);
    if (slice.files.front().size() <= bytes_max) {
      types_request_id_ = next_id_;
      registering_files_ = slice.end;
      types_requested_at_ = now;
      send_request(encode_types(next_id_, slice.files), now);
      return;
    }
    // A request that is too large would make the broker close the connection.
    registered_files_ = slice.end;
    report_type_problem(slice.end, fmt::format("types: {} accepts files of at most {} bytes, got {}",
                                               broker().control, bytes_max, slice.files.front().size()));
  }
}

void Sender::on_types(const BrokerReply& reply) {
  types_request_id_.reset();
  registered_files_ = registering_files_;
  if (reply.error.empty()) return;
  report_type_problem(registering_files_, fmt::format("{} refused types: {}", broker().control, reply.error));
}

// Reports a problem once, not again after each reconnect.
void Sender::report_type_problem(std::size_t files_end, const std::string& problem) {
  if (files_end <= type_problem_reported_) return;
  type_problem_reported_ = files_end;
  set_problem(problem);
}

bool Sender::send_events(Clock::time_point now) {
  if (const Outbox::View view = outbox_.view();
      session_admitted_ > view.confirmed && view.offered > view.confirmed) {
    confirm(session_admitted_);
  }
  const std::uint64_t before = outbox_.view().sent;
  const std::size_t count = outbox_.peek(batch_);
  // This must follow peek(): a type is added before its first event is queued.
  events_await_types_ = !register_types(now);
  if (events_await_types_) return false;
  std::size_t done = 0;
  for (; done < count; ++done) {
    const EventFrames& event = batch_[done];
    if (broker_event_bytes_max_ && event.event.size() > *broker_event_bytes_max_) {
      refuse_locally(before + done + 1, event.event.size());
    } else if (connection_->send_event(event)) {
      sent_on_connection_ = true;
    } else {
      break;
    }
  }
  blocked_ = done < count;
  if (done == 0) return false;
  outbox_.mark_sent(done);
  const std::uint64_t sent = before + done;
  const std::uint64_t again = std::min(sent, highest_sent_) - std::min(before, highest_sent_);
  highest_sent_ = std::max(highest_sent_, sent);
  session_sent_max_ = std::max(session_sent_max_, sent);
  if (again > 0) outbox_.change_status([&](PublisherStatus& status) { status.resent += again; });
  if (!refused_locally_.empty()) confirm(outbox_.view().confirmed);
  return !blocked_;
}

// An event far above the broker's limit would make libzmq close the connection there, and again after each
// reconnect.
void Sender::refuse_locally(std::uint64_t sequence, std::size_t event_bytes) {
  refused_locally_.push_back(sequence);
  if (sequence <= refused_locally_counted_) return;
  refused_locally_counted_ = sequence;
  outbox_.change_status([&](PublisherStatus& status) {
    ++status.refused;
    status.last_problem =
        fmt::format("too_large: event {}: the broker at {} accepts at most {} bytes, got {}", sequence,
                    broker().ingress, *broker_event_bytes_max_, event_bytes);
  });
}

void Sender::sleep() {
  std::array<pollfd, 4> descriptors{};
  std::size_t count = 0;
  const auto watch = [&](int fd) { descriptors[count++] = {fd, POLLIN, 0}; };
  watch(outbox_.wake_fd());
  if (connection_) {
    if (connection_->readable()) return;
    // readable() may have consumed the signal that the queue has room again; then no descriptor shows it.
    if (blocked_ && phase_ == Phase::sending && (send_events(Clock::now()) || !blocked_)) return;
    watch(connection_->data_fd());
    watch(connection_->control_fd());
    watch(connection_->monitor_fd());
  }
  if (!outbox_.may_sleep(phase_ == Phase::sending && !blocked_ && !events_await_types_)) return;
  ::poll(descriptors.data(), count, poll_timeout(next_deadline(), Clock::now(), hello_interval));
  outbox_.woken();
}

Sender::Clock::time_point Sender::next_deadline() const {
  switch (phase_) {
    case Phase::offline:
      return list_.retry_at();
    case Phase::connecting:
      return phase_deadline_;
    case Phase::resuming:
    case Phase::sending:
    case Phase::draining:
    case Phase::returning:
      break;
  }
  Clock::time_point deadline = std::min(hello_at_, next_admitted_request(outbox_.view()));
  deadline = std::min(deadline, earlier_.next_deadline());
  if (awaiting_reply_since_) deadline = std::min(deadline, *awaiting_reply_since_ + list_.patience());
  if (phase_ == Phase::sending) deadline = std::min(deadline, progress_at_ + confirmation_patience());
  if (phase_ == Phase::draining || phase_ == Phase::returning) deadline = std::min(deadline, phase_deadline_);
  if (phase_ == Phase::sending && events_await_types_)
    deadline = std::min(deadline, *types_awaited_since_ + reply_timeout);
  if (phase_ == Phase::sending && types_request_id_)
    deadline = std::min(deadline, types_requested_at_ + reply_timeout);
  return deadline;
}

void Sender::notify_change() {
  const std::uint64_t version = outbox_.status_version();
  if (version == notified_version_) return;
  notified_version_ = version;
  if (options_.on_change) options_.on_change(outbox_.status());
}

void Sender::set_problem(const std::string& problem) {
  if (outbox_.status().last_problem == problem) return;
  outbox_.change_status([&](PublisherStatus& status) { status.last_problem = problem; });
}

}  // namespace backplane::publishing
