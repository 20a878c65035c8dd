#include "tests/follower/fake_broker.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <stdexcept>
#include <thread>

#include <google/protobuf/descriptor.pb.h>

#include "backplane/v1/event.pb.h"
#include "backplane/v1/system.pb.h"
#include "core/topic/pattern.hpp"

namespace backplane::testing {
namespace {

mq::SocketOptions unlimited(const std::optional<mq::CurveServer>& keys) {
  mq::SocketOptions options;
  options.curve_server = keys;
  options.send_hwm = 0;
  options.receive_hwm = 0;
  return options;
}

// The port of a closed listener is free only after the I/O thread has handled it.
std::string bind_again(mq::Socket& socket, const std::string& endpoint) {
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds{5};
  for (;;) {
    auto bound = socket.bind(endpoint);
    if (bound) return *bound;
    if (std::chrono::steady_clock::now() > limit) throw std::runtime_error(bound.error().text);
    std::this_thread::yield();
  }
}

bool matches(const std::string& pattern, std::string_view topic) {
  const auto parsed = Pattern::parse(pattern);
  return parsed && parsed->matches(topic);
}

}  // namespace

std::string stamped_event(std::string_view text, const wire::Stamp& stamp) {
  v1::Event event;
  event.set_source("test");
  event.set_text(std::string(text));
  std::string bytes = event.SerializeAsString();
  std::array<std::byte, wire::stamp_bytes> tail{};
  wire::write_stamp(stamp, tail);
  bytes.append(reinterpret_cast<const char*>(tail.data()), tail.size());
  return bytes;
}

std::string text_of(std::span<const std::byte> event) {
  v1::Event parsed;
  if (!parsed.ParseFromArray(event.data(), static_cast<int>(event.size()))) return "(not an Event)";
  return parsed.text();
}

FakeBroker::Sockets::Sockets(const std::optional<mq::CurveServer>& keys, const std::string& zap_status)
    : xpub(context, zmq::socket_type::xpub, unlimited(keys)),
      router(context, zmq::socket_type::router, unlimited(keys)) {
  if (keys) zap.emplace(context, zap_status);
}

FakeBroker::FakeBroker(std::uint64_t stream) : stream_(stream) {
  open();
}
FakeBroker::~FakeBroker() = default;

void FakeBroker::open() {
  sockets_.emplace(keys_, zap_status_);
  egress_ = bind_again(sockets_->xpub, egress_);
  control_ = bind_again(sockets_->router, control_);
}

void FakeBroker::require_keys(const CurveKeys& keys, const std::string& zap_status) {
  close();
  keys_ = curve_server(keys);
  zap_status_ = zap_status;
  open();
}

void FakeBroker::close() {
  sockets_.reset();
  subscriptions.clear();
  live_checks.clear();
  subscriptions_at_live_check.clear();
}

void FakeBroker::restart_without_state(std::uint64_t new_stream) {
  stream_ = new_stream;
  position_ = 0;
  evicted_through_ = 0;
  tails_.clear();
  history_.clear();
}

std::size_t FakeBroker::do_work() {
  if (!sockets_) return 0;
  std::size_t done = 0;
  zmq::message_t frame;
  for (; sockets_->xpub.receive(frame); ++done) handle_subscription(frame.to_string_view());
  while (sockets_->router.receive(frame)) {
    std::vector<std::string> frames{frame.to_string()};
    while (frame.more() && sockets_->router.receive(frame)) frames.push_back(frame.to_string());
    handle_request(std::move(frames));
    ++done;
  }
  return done;
}

void FakeBroker::release() {
  if (!sockets_) return;
  sockets_->xpub.release();
  sockets_->router.release();
}

void FakeBroker::handle_subscription(std::string_view message) {
  if (message.empty()) return;
  const bool begins = message.front() == 1;
  const std::string prefix(message.substr(1));
  if (!prefix.starts_with("$SYS.live.")) {
    if (begins) subscriptions.insert(prefix);
    if (!begins) subscriptions.erase(prefix);
    return;
  }
  if (!begins) return;
  live_checks.push_back(prefix);
  subscriptions_at_live_check.insert(subscriptions.size());
  if (replies_to_live_checks) send_live_reply(prefix);
}

void FakeBroker::send_live_reply(const std::string& topic) {
  const wire::Stamp stamp{stream_, position_, 0, 0, 1};
  if (age.count() == 0) return send_raw({topic, stamped_event("", stamp)});
  v1::LiveAnswer reply;
  reply.set_age_ns(static_cast<std::uint64_t>(age.count()));
  v1::Event event;
  event.mutable_message()->PackFrom(reply);
  std::array<std::byte, wire::stamp_bytes> tail{};
  wire::write_stamp(stamp, tail);
  std::string bytes = event.SerializeAsString();
  bytes.append(reinterpret_cast<const char*>(tail.data()), tail.size());
  send_raw({topic, bytes});
}

wire::Stamp FakeBroker::publish(std::string_view topic, std::string_view text, bool lost) {
  wire::Stamp& tail = tails_[std::string(topic)];
  ++position_;
  tail =
      wire::Stamp{stream_, position_, tail.offset + 1, tail.position, static_cast<std::int64_t>(position_)};
  history_.push_back(Entry{std::string(topic), stamped_event(text, tail), tail});
  if (!lost) send_raw({history_.back().topic, history_.back().event});
  return tail;
}

void FakeBroker::send_raw(const std::vector<std::string>& frames) {
  if (!sockets_) return;
  for (std::size_t i = 0; i < frames.size(); ++i) {
    const auto flags = i + 1 < frames.size() ? zmq::send_flags::sndmore : zmq::send_flags::none;
    if (!sockets_->xpub.send(frames[i], flags)) throw std::runtime_error("the fake broker's XPUB is full");
  }
}

void FakeBroker::handle_request(std::vector<std::string> frames) {
  v1::ControlRequest request;
  if (!request.ParseFromString(frames.back())) throw std::runtime_error("not a ControlRequest");
  requests.push_back(request);
  if (!replies_to_requests) return;
  frames.back() = reply_to(request).SerializeAsString();
  for (std::size_t i = 0; i < frames.size(); ++i) {
    const auto flags = i + 1 < frames.size() ? zmq::send_flags::sndmore : zmq::send_flags::none;
    try {
      (void)sockets_->router.send(frames[i], flags);
    } catch (const zmq::error_t&) {
      return;  // the client has gone
    }
  }
}

v1::ControlReply FakeBroker::reply_to(const v1::ControlRequest& request) {
  v1::ControlReply reply;
  reply.set_version(1);
  reply.set_id(request.id());
  reply.set_stream(stream_);
  reply.set_position(position_);
  reply.mutable_complete();
  switch (request.request_case()) {
    case v1::ControlRequest::kHello:
      reply.mutable_hello()->set_version("fake");
      break;
    case v1::ControlRequest::kRetained:
      reply_to_retained(request.retained(), reply);
      break;
    case v1::ControlRequest::kReplay:
      reply_to_replay(request.replay(), reply);
      break;
    case v1::ControlRequest::kTails:
      reply_to_tails(request.tails(), reply);
      break;
    case v1::ControlRequest::kTopics:
      reply_to_topics(request.topics(), reply);
      break;
    case v1::ControlRequest::kTypes:
      reply_to_types(request.types(), reply);
      break;
    case v1::ControlRequest::kStats:
      reply_to_stats(request.stats(), reply);
      break;
    case v1::ControlRequest::kDrain:
      reply.mutable_drain();
      break;
    default:
      reply.mutable_error()->set_code("unknown_request");
  }
  return reply;
}

void FakeBroker::reply_to_retained(const v1::RetainedRequest& request, v1::ControlReply& reply) {
  if (!Pattern::parse(request.pattern())) {
    reply.mutable_error()->set_code("bad_pattern");
    reply.mutable_error()->set_text("that is no pattern");
    return;
  }
  reply.mutable_retained();
  for (const auto& [topic, text] : values) {
    if (topic <= request.cursor() || !matches(request.pattern(), topic)) continue;
    if (static_cast<std::size_t>(reply.retained().events_size()) == slice_events) {
      const auto& last = reply.retained().events(reply.retained().events_size() - 1);
      reply.mutable_more()->set_cursor(last.topic());
      return;
    }
    auto& stored = *reply.mutable_retained()->add_events();
    stored.set_topic(topic);
    stored.set_event(stamped_event(text, wire::Stamp{stream_, 1, 1, 0, 1}));
  }
}

// The position after which a replay begins.
std::optional<std::uint64_t> FakeBroker::start_of(const v1::ReplayRequest& request) const {
  switch (request.start_case()) {
    case v1::ReplayRequest::kAfterPosition:
      if (request.after_position().stream() != stream_) return std::nullopt;
      return request.after_position().position();
    case v1::ReplayRequest::kAfterOffset:
      for (const Entry& entry : history_) {
        if (entry.topic == request.pattern() && entry.stamp.offset > request.after_offset()) {
          return entry.stamp.position - 1;
        }
      }
      return position_;
    case v1::ReplayRequest::kSinceAgoNs:
      return 0;  // its clock begins when it does
    case v1::ReplayRequest::kSinceNs:
      return static_cast<std::uint64_t>(std::max<std::int64_t>(request.since_ns(), 1)) - 1;
    case v1::ReplayRequest::START_NOT_SET:
      break;
  }
  return std::nullopt;
}

void FakeBroker::reply_to_replay(const v1::ReplayRequest& request, v1::ControlReply& reply) {
  if (request.since_ago_ns() != 0) since_ago_ns.push_back(request.since_ago_ns());
  if (refused_replays > 0 || !Pattern::parse(request.pattern())) {
    reply.mutable_error()->set_code(refused_replays > 0 ? "busy" : "bad_pattern");
    refused_replays -= refused_replays > 0 ? 1 : 0;
    return;
  }
  const auto start = start_of(request);
  const std::string cursor_prefix = std::to_string(stream_) + " ";
  if (!start || (!request.cursor().empty() && !request.cursor().starts_with(cursor_prefix))) {
    reply.mutable_error()->set_code("other_stream");
    return;
  }
  if (request.after_position().position() > position_ ||
      (request.has_after_offset() && request.after_offset() > tails_[request.pattern()].offset)) {
    reply.mutable_error()->set_code("not_reached");
    return;
  }
  std::uint64_t after = *start;
  if (after < evicted_through_ && request.cursor().empty()) {
    const bool misses = std::any_of(history_.begin(), history_.end(), [&](const Entry& entry) {
      return entry.stamp.position > after && entry.stamp.position <= evicted_through_ &&
             matches(request.pattern(), entry.topic);
    });
    if (misses) {
      reply.mutable_gone()->set_first_available(evicted_through_ + 1);
      return;
    }
  }
  if (!request.cursor().empty()) after = std::stoull(request.cursor().substr(cursor_prefix.size()));
  const std::uint64_t until = request.until_position() == 0 ? position_ : request.until_position();
  auto& replay = *reply.mutable_replay();
  for (const Entry& entry : history_) {
    const std::uint64_t position = entry.stamp.position;
    if (position <= std::max(after, evicted_through_) || position > until) continue;
    if (!matches(request.pattern(), entry.topic)) continue;
    if (static_cast<std::size_t>(replay.events_size()) == slice_events) {
      reply.mutable_more()->set_cursor(cursor_prefix + std::to_string(replay.through_position()));
      return;
    }
    replay.add_events()->set_topic(entry.topic);
    replay.mutable_events(replay.events_size() - 1)->set_event(entry.event);
    replay.set_through_position(position);
  }
  replay.set_through_position(until);
}

void FakeBroker::reply_to_topics(const v1::TopicsRequest& request, v1::ControlReply& reply) {
  auto& topics = *reply.mutable_topics();
  for (const auto& [topic, stamp] : tails_) {
    if (topic <= request.cursor() || !matches(request.pattern(), topic)) continue;
    if (static_cast<std::size_t>(topics.topics_size()) == slice_events) {
      reply.mutable_more()->set_cursor(topics.topics(topics.topics_size() - 1).name());
      return;
    }
    auto& shown = *topics.add_topics();
    shown.set_name(topic);
    shown.set_offset(stamp.offset);
    shown.set_position(stamp.position);
    shown.set_received_ns(stamp.received_ns);
  }
}

void FakeBroker::reply_to_types(const v1::TypesRequest& request, v1::ControlReply& reply) {
  auto& found = *reply.mutable_types();
  if (request.cursor().empty()) {
    for (const std::string& name : request.names()) found.add_unknown(name);
  }
  const auto at = static_cast<std::size_t>(request.cursor().empty() ? 0 : std::stoul(request.cursor()));
  if (at < type_files.size()) found.mutable_files()->add_file()->ParseFromString(type_files[at]);
  if (at + 1 < type_files.size()) reply.mutable_more()->set_cursor(std::to_string(at + 1));
}

void FakeBroker::reply_to_stats(const v1::StatsRequest& request, v1::ControlReply& reply) {
  auto& stats = *reply.mutable_stats();
  if (request.cursor().empty()) (*stats.mutable_counters())["events_received_total"] = position_;
  auto& who = *stats.add_participants();
  who.set_name(request.cursor().empty() ? "clock" : "gateway");
  who.set_role(request.cursor().empty() ? v1::HelloRequest::ROLE_PUBLISHER : v1::HelloRequest::ROLE_GATEWAY);
  if (request.cursor().empty()) reply.mutable_more()->set_cursor("1");
}

void FakeBroker::reply_to_tails(const v1::TailsRequest& request, v1::ControlReply& reply) {
  auto& tails = *reply.mutable_tails();
  for (const auto& [topic, stamp] : tails_) {
    if (stamp.position <= request.after_position() || topic <= request.cursor()) continue;
    if (std::none_of(request.patterns().begin(), request.patterns().end(),
                     [&, name = std::string_view(topic)](const auto& p) { return matches(p, name); })) {
      continue;
    }
    if (static_cast<std::size_t>(tails.tails_size()) == slice_events) {
      reply.mutable_more()->set_cursor(tails.tails(tails.tails_size() - 1).topic());
      return;
    }
    auto& tail = *tails.add_tails();
    tail.set_topic(topic);
    tail.set_position(stamp.position);
    tail.set_offset(stamp.offset);
  }
}

}  // namespace backplane::testing
