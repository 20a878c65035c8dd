#include "publishers/lib/sender.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <poll.h>

#include "core/error/error.hpp"
#include "core/time/deadline.hpp"

namespace backplane::publishing {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds backoff_min{50};
constexpr milliseconds backoff_max{1000};
// From the start of a connection to the broker's subscription: two round trips of a healthy one.
constexpr milliseconds connect_time_max{3000};
constexpr milliseconds hello_interval{1000};
constexpr milliseconds ask_interval{100};
// A lost question is asked again; a broker that answers nothing for so long is given up.
constexpr milliseconds answer_time{1000};
constexpr milliseconds silence_max{5000};
// A broker that drains reads until 200 ms of quiet; what it has not confirmed by then it won't.
constexpr milliseconds drain_time_max{1000};
constexpr milliseconds goodbye_time{200};
// What a broker takes in one registration, and what its control takes above its event limit (less some for
// the request around the files).
constexpr std::size_t types_bytes_max = 128u << 10;
constexpr std::size_t types_files_max = 512;
constexpr std::size_t control_bytes_above_event = 63u << 10;

constexpr std::chrono::steady_clock::time_point never = std::chrono::steady_clock::time_point::max();

}  // namespace

Sender::Sender(mq::Context& context, const Publisher::Options& options, std::uint64_t session, Outbox& outbox,
               const TypeDefinitions& types)
    : context_(context),
      options_(options),
      session_(session),
      outbox_(outbox),
      types_(types),
      backoff_(backoff_min) {
  connect(Clock::now());
  connection_->release();
}

void Sender::run() {
  while (!outbox_.view().ending) {
    try {
      const bool more = work(Clock::now());
      tell_change();
      if (!more) sleep();
    } catch (const std::exception& error) {  // too many open files, say: what ends one link may pass
      disconnect(Clock::now(), error.what());
    }
  }
  if (connection_ && phase_ != Phase::connecting) {
    send_hello(Clock::now(), /*closing=*/true);
    connection_->linger(goodbye_time);
  }
  connection_.reset();
  outbox_.ended();
  tell_change();
}

bool Sender::work(Clock::time_point now) {
  if (phase_ == Phase::offline) {
    if (now < retry_at_) return false;
    connect(now);
  }
  if (connection_->disconnected()) {
    disconnect(now, phase_ == Phase::connecting ? fmt::format("nobody answers at {}", broker().ingress)
                                                : fmt::format("lost the connection to {}", broker().ingress));
    return false;
  }
  const bool subscribed = connection_->subscribed();
  if (phase_ == Phase::connecting && subscribed) on_subscribed(now);
  if (phase_ == Phase::connecting && now >= phase_deadline_) {
    disconnect(now, fmt::format("{} accepts connections but does not subscribe", broker().ingress));
    return false;
  }
  if (drained() || (phase_ == Phase::draining && now >= phase_deadline_)) {
    disconnect(now, fmt::format("the broker at {} is ending", broker().ingress));
    return false;
  }
  read_replies(now);
  if (unanswered_since_ && now - *unanswered_since_ >= silence_max) {
    disconnect(now, fmt::format("no answer from {}", broker().control));
  }
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
  connection_ = std::make_unique<PublisherConnection>(context_, broker());
  phase_ = Phase::connecting;
  phase_deadline_ = now + connect_time_max;
  connection_stream_.reset();
  sent_on_connection_ = false;
  blocked_ = false;
  event_bytes_max_.reset();
  first_request_id_ = next_id_;
  unanswered_since_.reset();
  ask_id_.reset();
  wanted_ = 0;
  types_done_ = 0;
  types_id_.reset();
  types_wait_since_.reset();
  events_wait_ = false;
}

void Sender::disconnect(Clock::time_point now, const std::string& problem) {
  if (sent_on_connection_) sent_to_ = connection_stream_;
  sent_on_connection_ = false;
  unanswered_since_.reset();
  connection_.reset();
  phase_ = Phase::offline;
  broker_ = (broker_ + 1) % options_.brokers.size();
  retry_at_ = now + backoff_;
  backoff_ = std::min(2 * backoff_, backoff_max);
  const PublisherStatus before = outbox_.status();
  if (!before.ready && !before.draining && before.last_problem == problem) return;
  outbox_.change_status([&](PublisherStatus& status) {
    status.ready = false;
    status.draining = false;
    status.last_problem = problem;
  });
}

void Sender::on_subscribed(Clock::time_point now) {
  phase_ = sent_ever_ > outbox_.view().confirmed ? Phase::resuming : Phase::sending;
  hello_at_ = now;
  asked_at_ = now - ask_interval;
  outbox_.change_status([&](PublisherStatus& status) {
    status.ready = true;
    status.last_problem.clear();
    if (was_ready_) ++status.reconnects;
  });
  was_ready_ = true;
}

void Sender::read_replies(Clock::time_point now) {
  zmq::message_t reply;
  while (connection_ && connection_->receive_reply(reply)) {
    const auto answer = decode_reply(reply.to_string_view());
    if (!answer) {
      set_problem(fmt::format("{}: wanted a ControlReply, got {} bytes that are none", broker().control,
                              reply.size()));
    } else if (answer->id >= first_request_id_ && answer->id < next_id_) {
      on_reply(*answer, now);
    }
  }
}

void Sender::on_reply(const ControlAnswer& answer, Clock::time_point now) {
  unanswered_since_.reset();
  if (ask_id_ && answer.id == *ask_id_) ask_id_.reset();
  if (types_id_ && answer.id == *types_id_) {
    on_types(answer);
  } else if (!answer.error.empty()) {
    set_problem(fmt::format("{} refused a request: {}", broker().control, answer.error));
    return;
  }
  if (connection_stream_ && *connection_stream_ != answer.stream) {
    // The broker has come back sooner than the end of the old connection was seen.
    disconnect(now, fmt::format("another life of the broker answers at {}", broker().control));
    return;
  }
  connection_stream_ = answer.stream;
  if (!answer.error.empty()) return;
  if (answer.hello && answer.hello->max_event_bytes > 0) {
    event_bytes_max_ = answer.hello->max_event_bytes;
    outbox_.limit_event_bytes(std::min(options_.max_event_bytes, *event_bytes_max_));
  }
  if (!answer.draining) {
    backoff_ = backoff_min;
  } else if (phase_ != Phase::draining) {
    // Sends no more: the broker ends sooner once it is quiet, and what it has read it still confirms.
    phase_ = Phase::draining;
    phase_deadline_ = now + drain_time_max;
    outbox_.change_status([](PublisherStatus& status) { status.draining = true; });
  }
  if (answer.admitted) on_admitted(*answer.admitted, answer.stream);
}

void Sender::on_admitted(const ControlAnswer::Admitted& admitted, std::uint64_t stream) {
  const std::uint64_t before = outbox_.view().confirmed;
  count_refusals(admitted, stream);
  if (phase_ == Phase::resuming) count_doubt(admitted, stream);
  confirm(std::min(std::max(admitted.sequence, admitted.refused_sequence), sent_ever_));
  if (phase_ == Phase::resuming) {
    refused_here_.clear();
    outbox_.rewind();
    phase_ = Phase::sending;
  }
  const bool progress = outbox_.view().confirmed > before;
  hurry_interval_ =
      progress ? milliseconds{1} : std::clamp(2 * hurry_interval_, milliseconds{1}, ask_interval);
}

void Sender::count_doubt(const ControlAnswer::Admitted& admitted, std::uint64_t stream) {
  const std::uint64_t confirmed = outbox_.view().confirmed;
  const bool knows_us = admitted.sequence > 0 || admitted.refused_sequence > 0;
  // Where nobody answered on the former link, the session tells: it is random, and known to one life only.
  const bool remembers = sent_to_ ? *sent_to_ == stream && (knows_us || confirmed == 0) : knows_us;
  if (remembers) return;
  const std::uint64_t from = std::max(confirmed, doubt_counted_);
  if (from >= sent_ever_) return;
  outbox_.change_status([&](PublisherStatus& status) { status.in_doubt += sent_ever_ - from; });
  doubt_counted_ = sent_ever_;
}

void Sender::count_refusals(const ControlAnswer::Admitted& admitted, std::uint64_t stream) {
  std::uint64_t& known = refused_by_stream_[stream];
  if (admitted.refused <= known) return;
  const std::uint64_t more = admitted.refused - std::exchange(known, admitted.refused);
  outbox_.change_status([&](PublisherStatus& status) {
    status.refused += more;
    status.last_problem = fmt::format("the broker refused {} events, last event {}: {}", status.refused,
                                      admitted.refused_sequence, admitted.refused_reason);
  });
}

void Sender::confirm(std::uint64_t sequence) {
  while (!refused_here_.empty() && refused_here_.front() <= sequence + 1) {
    sequence = std::max(sequence, refused_here_.front());
    refused_here_.pop_front();
  }
  outbox_.confirm(sequence);
}

void Sender::send_requests(Clock::time_point now) {
  if (phase_ == Phase::connecting) return;
  if (now >= hello_at_) send_hello(now, /*closing=*/false);
  const Outbox::View view = outbox_.view();
  if (view.wanted != wanted_) {
    wanted_ = view.wanted;
    hurry_interval_ = milliseconds{0};
  }
  if (now < next_ask(view)) return;
  ask_id_ = next_id_;
  asked_at_ = now;
  send_request(encode_admitted(next_id_, options_.source, session_), now);
}

void Sender::send_hello(Clock::time_point now, bool closing) {
  if (const std::string problem = types_.problem();
      !problem.empty() && !std::exchange(types_full_told_, true)) {
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
  if (!unanswered_since_) unanswered_since_ = now;
  // A full queue means that nobody answers, which the deadlines see.
  [[maybe_unused]] const bool sent = connection_->send_request(request);
}

Sender::Clock::time_point Sender::next_ask(const Outbox::View& view) const {
  if (ask_id_) return asked_at_ + answer_time;
  if (phase_ == Phase::resuming) return asked_at_ + ask_interval;
  if (view.sent <= view.confirmed) return never;
  const bool awaited = view.wanted > view.confirmed && view.sent >= view.wanted;
  const bool hurry = awaited || phase_ == Phase::draining;
  return asked_at_ + (hurry ? hurry_interval_ : ask_interval);
}

bool Sender::types_told(Clock::time_point now) {
  if (types_done_ == types_.file_count()) {
    types_wait_since_.reset();
    return true;
  }
  if (!types_wait_since_) types_wait_since_ = now;
  // The first answer on a link tells how large a request may be.
  if (connection_stream_ && (!types_id_ || now - types_asked_at_ >= answer_time)) tell_types(now);
  // Better unreadable for some than late for all.
  return types_done_ == types_.file_count() || now - *types_wait_since_ >= answer_time;
}

void Sender::tell_types(Clock::time_point now) {
  const std::size_t bytes_max = event_bytes_max_
                                    ? std::min(types_bytes_max, *event_bytes_max_ + control_bytes_above_event)
                                    : control_bytes_above_event;
  while (types_done_ < types_.file_count()) {
    const TypeDefinitions::Slice slice = types_.files_from(types_done_, bytes_max, types_files_max);
    if (slice.files.front().size() <= bytes_max) {
      types_id_ = next_id_;
      types_asked_end_ = slice.end;
      types_asked_at_ = now;
      send_request(encode_types(next_id_, slice.files), now);
      return;
    }
    // A request that is too large would end the connection.
    types_done_ = slice.end;
    say_type_problem(slice.end, fmt::format("types: {} takes files of at most {} bytes, one has {}",
                                            broker().control, bytes_max, slice.files.front().size()));
  }
}

void Sender::on_types(const ControlAnswer& answer) {
  types_id_.reset();
  types_done_ = types_asked_end_;
  if (answer.error.empty()) return;
  say_type_problem(types_asked_end_, fmt::format("{} refused types: {}", broker().control, answer.error));
}

// Once, not after each reconnect again.
void Sender::say_type_problem(std::size_t files_end, const std::string& problem) {
  if (files_end <= type_problem_told_) return;
  type_problem_told_ = files_end;
  set_problem(problem);
}

bool Sender::send_events(Clock::time_point now) {
  const std::uint64_t before = outbox_.view().sent;
  const std::size_t count = outbox_.peek(batch_);
  // Behind peek(): a type is noted before its first event is there.
  events_wait_ = !types_told(now);
  if (events_wait_) return false;
  std::size_t done = 0;
  for (; done < count; ++done) {
    const EventFrames& event = batch_[done];
    if (event_bytes_max_ && event.event.size() > *event_bytes_max_) {
      refuse_here(before + done + 1, event.event.size());
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
  const std::uint64_t again = std::min(sent, sent_ever_) - std::min(before, sent_ever_);
  sent_ever_ = std::max(sent_ever_, sent);
  if (again > 0) outbox_.change_status([&](PublisherStatus& status) { status.resent += again; });
  if (!refused_here_.empty()) confirm(outbox_.view().confirmed);
  return !blocked_;
}

// An event far above the broker's limit makes libzmq cut the connection there, and would do so again after
// each reconnect.
void Sender::refuse_here(std::uint64_t sequence, std::size_t event_bytes) {
  refused_here_.push_back(sequence);
  if (sequence <= refused_here_counted_) return;
  refused_here_counted_ = sequence;
  outbox_.change_status([&](PublisherStatus& status) {
    ++status.refused;
    status.last_problem = fmt::format("event {}: the broker at {} takes at most {} bytes, it has {}",
                                      sequence, broker().ingress, *event_bytes_max_, event_bytes);
  });
}

void Sender::sleep() {
  std::array<pollfd, 4> descriptors{};
  std::size_t count = 0;
  const auto watch = [&](int fd) { descriptors[count++] = {fd, POLLIN, 0}; };
  watch(outbox_.wake_fd());
  if (connection_) {
    if (connection_->readable()) return;
    // Asking that may have taken the news that there is room again, so that no descriptor tells it.
    if (blocked_ && phase_ == Phase::sending && (send_events(Clock::now()) || !blocked_)) return;
    watch(connection_->data_fd());
    watch(connection_->control_fd());
    watch(connection_->monitor_fd());
  }
  if (!outbox_.may_sleep(phase_ == Phase::sending && !blocked_ && !events_wait_)) return;
  ::poll(descriptors.data(), count, poll_timeout(next_deadline(), Clock::now(), hello_interval));
  outbox_.woken();
}

Sender::Clock::time_point Sender::next_deadline() const {
  switch (phase_) {
    case Phase::offline:
      return retry_at_;
    case Phase::connecting:
      return phase_deadline_;
    case Phase::resuming:
    case Phase::sending:
    case Phase::draining:
      break;
  }
  Clock::time_point deadline = std::min(hello_at_, next_ask(outbox_.view()));
  if (unanswered_since_) deadline = std::min(deadline, *unanswered_since_ + silence_max);
  if (phase_ == Phase::draining) deadline = std::min(deadline, phase_deadline_);
  if (phase_ == Phase::sending && events_wait_)
    deadline = std::min(deadline, *types_wait_since_ + answer_time);
  if (phase_ == Phase::sending && types_id_) deadline = std::min(deadline, types_asked_at_ + answer_time);
  return deadline;
}

void Sender::tell_change() {
  const std::uint64_t version = outbox_.status_version();
  if (version == told_version_) return;
  told_version_ = version;
  if (options_.on_change) options_.on_change(outbox_.status());
}

void Sender::set_problem(const std::string& problem) {
  if (outbox_.status().last_problem == problem) return;
  outbox_.change_status([&](PublisherStatus& status) { status.last_problem = problem; });
}

}  // namespace backplane::publishing
