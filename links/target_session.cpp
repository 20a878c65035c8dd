#include "links/target_session.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>
#include <poll.h>

#include "core/log/log.hpp"
#include "core/process/host.hpp"
#include "core/time/deadline.hpp"

namespace backplane::links {
namespace {

using publishing::BrokerList;
using std::chrono::milliseconds;

constexpr milliseconds hello_interval{1000};
constexpr milliseconds confirm_interval{10};
constexpr milliseconds reply_timeout{1000};
constexpr milliseconds drain_time_max{1000};
constexpr milliseconds goodbye_time{500};
// How long the broker may admit nothing of what was sent before it is sent again. A broker whose disk is full
// confirms nothing for long: then the time grows.
constexpr milliseconds confirm_patience_min{2000};
constexpr milliseconds confirm_patience_max{60'000};
// What a broker accepts in one registration; see Sender.
constexpr std::size_t types_bytes_max = 63u << 10;

}  // namespace

TargetSession::TargetSession(mq::Context& context, Options options)
    : context_(context),
      options_(std::move(options)),
      list_(options_.brokers.size()),
      presence_session_(random_id()),
      confirm_patience_(confirm_patience_min) {
  for (const PublisherEndpoints& each : options_.brokers)
    key_checks_.emplace_back(options_.keys, each.ingress);
  connect(Clock::now());
}

TargetSession::~TargetSession() = default;

void TargetSession::use_session(std::uint64_t session) {
  session_ = session;
  confirmed_ = sent_ = 0;
  known_refused_.reset();
  admitted_id_.reset();
  first_id_ = next_id_;  // a reply to an earlier request is about another session
  admitted_requested_at_ = {};
  if (is_ready_or_draining()) phase_ = Phase::asking;
}

// ── the connection ───────────────────────────────────────────────────────────────────────────────────────

publishing::BrokerAddresses& TargetSession::addresses() {
  return addresses_.try_emplace(list_.current(), broker()).first->second;
}

void TargetSession::connect(Clock::time_point now) {
  connection_ = std::make_unique<publishing::PublisherConnection>(context_, addresses(), options_.keys);
  phase_ = Phase::connecting;
  connecting_since_ = now;
  stream_ = 0;
  subscribed_ = said_hello_ = false;
  event_bytes_max_ = 0;
  acknowledged_bytes_ = 0;
  first_id_ = next_id_;
  known_refused_.reset();
  admitted_id_.reset();
  admitted_requested_at_ = {};
  awaiting_reply_since_.reset();
  unconfirmed_since_.reset();
  registered_ = 0;
  types_id_.reset();
  hello_at_ = now;
}

void TargetSession::disconnect(Clock::time_point now, BrokerList::Loss loss, const std::string& problem) {
  const bool was_connected = phase_ != Phase::connecting;
  connection_.reset();
  phase_ = Phase::offline;
  stream_ = 0;
  problem_ = problem;
  if (was_connected) {
    list_.on_lost(loss, now);
  } else if (addresses().next()) {
    list_.on_failed(loss, now);
  } else {
    list_.choose(list_.current(), now);  // it has other addresses
  }
}

void TargetSession::on_disconnected(Clock::time_point now) {
  if (connection_->connected()) key_check().on_connected();
  key_check().on_failure(connection_->failure(), addresses().ingress(), now);
  std::string problem = key_check().text();
  if (problem.empty()) {
    problem = phase_ == Phase::connecting ? fmt::format("cannot connect to {}", broker().ingress)
                                          : fmt::format("lost the connection to {}", broker().ingress);
  }
  disconnect(now, BrokerList::Loss::disconnected, problem);
}

std::size_t TargetSession::do_work(Clock::time_point now) {
  if (phase_ == Phase::offline) {
    if (now < list_.retry_at()) return 0;
    connect(now);
  }
  if (connection_->disconnected()) {
    on_disconnected(now);
    return 1;
  }
  if (connection_->subscribed()) subscribed_ = true;
  read_replies(now);
  if (connection_ && phase_ == Phase::connecting && subscribed_ && said_hello_) {
    key_check().on_connected();
    list_.on_connected(now - connecting_since_);
    problem_.clear();
    phase_ = Phase::asking;
  }
  if (!connection_ || !check_time(now)) return 1;
  register_types(now);
  send_requests(now);
  return 0;
}

/// Ends a connection that has become useless. @returns whether there is one.
bool TargetSession::check_time(Clock::time_point now) {
  if (phase_ == Phase::connecting && now - connecting_since_ >= list_.patience()) {
    disconnect(now, BrokerList::Loss::unusable,
               subscribed_ ? fmt::format("no reply from {}", broker().control)
                           : fmt::format("{} accepts connections but does not subscribe", broker().ingress));
  } else if (awaiting_reply_since_ && now - *awaiting_reply_since_ >= list_.patience()) {
    disconnect(now, BrokerList::Loss::unusable, fmt::format("no reply from {}", broker().control));
  } else if (phase_ == Phase::draining && (sent_ <= confirmed_ || now >= drain_until_)) {
    disconnect(now, BrokerList::Loss::unusable,
               fmt::format("the broker at {} is shutting down", broker().ingress));
  } else if (unconfirmed_since_ && now - *unconfirmed_since_ >= confirm_patience_) {
    // A large event takes its time on a slow path.
    const std::uint64_t acknowledged = connection_->acknowledged_bytes();
    if (acknowledged > std::exchange(acknowledged_bytes_, acknowledged)) {
      unconfirmed_since_ = now;
      return true;
    }
    // The broker has not admitted what was sent, or has not admitted the event before.
    confirm_patience_ = std::min(2 * confirm_patience_, confirm_patience_max);
    disconnect(now, BrokerList::Loss::unusable,
               fmt::format("{} does not confirm what was sent to {}", broker().control, broker().ingress));
  }
  return connection_ != nullptr;
}

// ── requests and replies ─────────────────────────────────────────────────────────────────────────────────

void TargetSession::read_replies(Clock::time_point now) {
  zmq::message_t frame;
  while (connection_ && connection_->receive_reply(frame)) {
    const auto reply = publishing::decode_reply(frame.to_string_view());
    if (reply && reply->id < next_id_) on_reply(*reply, now);
  }
}

void TargetSession::on_reply(const publishing::BrokerReply& reply, Clock::time_point now) {
  awaiting_reply_since_.reset();
  const bool is_admitted = admitted_id_ && reply.id == *admitted_id_;
  if (is_admitted) admitted_id_.reset();
  if (types_id_ && reply.id == *types_id_) {
    types_id_.reset();
    registered_ = registering_;
    if (!reply.error.empty())
      log::warning("{}: {} refused types: {}", options_.presence, broker().control, reply.error);
  } else if (!reply.error.empty()) {
    problem_ = fmt::format("{} refused a request: {}", broker().control, reply.error);
    return;
  }
  if (stream_ != 0 && stream_ != reply.stream) {
    // The broker restarted before the end of the old connection was noticed.
    return disconnect(now, BrokerList::Loss::disconnected,
                      fmt::format("the broker at {} has restarted", broker().control));
  }
  stream_ = reply.stream;
  if (reply.hello) {
    said_hello_ = true;
    event_bytes_max_ = reply.hello->max_event_bytes;
  }
  if (reply.draining && !is_ready_or_draining()) {
    return disconnect(now, BrokerList::Loss::unusable,
                      fmt::format("the broker at {} is shutting down", broker().ingress));
  }
  if (reply.admitted && is_admitted && reply.id >= first_id_) on_admitted(*reply.admitted, now);
  if (reply.draining && phase_ == Phase::ready) {
    phase_ = Phase::draining;
    drain_until_ = now + drain_time_max;
  }
}

void TargetSession::on_admitted(const publishing::BrokerReply::Admitted& admitted, Clock::time_point now) {
  const std::uint64_t before = confirmed_;
  confirmed_ = std::max(admitted.sequence, admitted.refused_sequence);
  if (known_refused_ && admitted.refused > *known_refused_) {
    refused_ += admitted.refused - *known_refused_;
    refused_reason_ = admitted.refused_reason;
  }
  known_refused_ = admitted.refused;
  if (phase_ == Phase::asking) {
    phase_ = Phase::ready;
    sent_ = confirmed_;
    ++run_;
  }
  if (confirmed_ > before) confirm_patience_ = confirm_patience_min;
  if (sent_ <= confirmed_) {
    unconfirmed_since_.reset();
  } else if (confirmed_ > before) {
    unconfirmed_since_ = now;
  }
}

void TargetSession::send_requests(Clock::time_point now) {
  if (now >= hello_at_) {
    hello_at_ = now + hello_interval;
    send_request(publishing::encode_hello(next_id_, options_.presence, presence_session_, /*closing=*/false,
                                          counters_),
                 now);
  }
  if (phase_ == Phase::connecting || !session_ || now < next_admitted_request()) return;
  admitted_id_ = next_id_;
  admitted_requested_at_ = now;
  send_request(publishing::encode_admitted(next_id_, options_.publisher, *session_), now);
}

TargetSession::Clock::time_point TargetSession::next_admitted_request() const {
  if (phase_ == Phase::connecting || phase_ == Phase::offline || !session_) return Clock::time_point::max();
  if (admitted_id_) return admitted_requested_at_ + reply_timeout;
  if (phase_ == Phase::asking || sent_ > confirmed_) return admitted_requested_at_ + confirm_interval;
  return Clock::time_point::max();
}

void TargetSession::send_request(const std::string& request, Clock::time_point now) {
  ++next_id_;
  if (!awaiting_reply_since_) awaiting_reply_since_ = now;
  // If the queue is full, the broker does not reply; the deadlines detect that.
  [[maybe_unused]] const bool sent = connection_->send_request(request);
}

void TargetSession::add_types(std::vector<std::string> files) {
  for (std::string& file : files) {
    if (std::ranges::find(types_, file) == types_.end()) types_.push_back(std::move(file));
  }
}

void TargetSession::register_types(Clock::time_point now) {
  if (!said_hello_ || registered_ == types_.size()) return;
  if (types_id_ && now - types_requested_at_ < reply_timeout) return;
  if (types_id_) {  // better undecoded for some readers than late for all
    types_id_.reset();
    registered_ = registering_;
    return;
  }
  std::vector<std::string> files;
  std::size_t bytes = 0;
  registering_ = registered_;
  while (registering_ < types_.size() &&
         (files.empty() || bytes + types_[registering_].size() <= types_bytes_max)) {
    bytes += types_[registering_].size() + 8;
    files.push_back(types_[registering_++]);
  }
  if (bytes > event_bytes_max_ + types_bytes_max) {
    // A request that is too large would make the broker close the connection.
    log::warning("{}: types: {} accepts files of at most {} bytes, got {}", options_.presence,
                 broker().control, event_bytes_max_ + types_bytes_max, bytes);
    registered_ = registering_;
    return;
  }
  types_id_ = next_id_;
  types_requested_at_ = now;
  send_request(publishing::encode_types(next_id_, files), now);
}

bool TargetSession::send(std::string_view topic, std::string_view event, std::uint64_t sequence) {
  if (phase_ != Phase::ready) return false;
  if (!connection_->send_event({topic, event})) return false;
  if (sent_ <= confirmed_) {
    unconfirmed_since_ = Clock::now();
    admitted_requested_at_ = *unconfirmed_since_;
  }
  sent_ = sequence;
  return true;
}

// ── waiting ──────────────────────────────────────────────────────────────────────────────────────────────

std::vector<int> TargetSession::fds() {
  if (!connection_) return {};
  return {connection_->data_fd(), connection_->control_fd(), connection_->monitor_fd()};
}

bool TargetSession::pending() {
  return connection_ && connection_->readable();
}

TargetSession::Clock::time_point TargetSession::next_deadline() const {
  if (phase_ == Phase::offline) return list_.retry_at();
  Clock::time_point deadline = std::min(hello_at_, next_admitted_request());
  if (phase_ == Phase::connecting) deadline = std::min(deadline, connecting_since_ + list_.patience());
  if (phase_ == Phase::draining) deadline = std::min(deadline, drain_until_);
  if (awaiting_reply_since_) deadline = std::min(deadline, *awaiting_reply_since_ + list_.patience());
  if (unconfirmed_since_) deadline = std::min(deadline, *unconfirmed_since_ + confirm_patience_);
  if (types_id_) deadline = std::min(deadline, types_requested_at_ + reply_timeout);
  if (said_hello_ && !types_id_ && registered_ < types_.size()) return Clock::time_point::min();
  return deadline;
}

void TargetSession::say_goodbye() {
  if (!connection_) return;
  const std::uint64_t id = next_id_++;
  (void)connection_->send_request(
      publishing::encode_hello(id, options_.presence, presence_session_, /*closing=*/true, counters_));
  connection_->linger(goodbye_time);
  const Clock::time_point deadline = Clock::now() + goodbye_time;
  zmq::message_t frame;
  while (!connection_->disconnected()) {
    (void)connection_->subscribed();  // reads what the data socket has received
    while (connection_->receive_reply(frame)) {
      if (const auto reply = publishing::decode_reply(frame.to_string_view()); reply && reply->id == id)
        return;
    }
    const Clock::time_point now = Clock::now();
    if (now >= deadline) return;
    std::array<pollfd, 2> descriptors{
        {{connection_->control_fd(), POLLIN, 0}, {connection_->monitor_fd(), POLLIN, 0}}};
    if (!connection_->readable()) ::poll(descriptors.data(), descriptors.size(), poll_timeout(deadline, now));
  }
}

}  // namespace backplane::links
