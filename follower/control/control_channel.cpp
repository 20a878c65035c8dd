#include "follower/control/control_channel.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

#include <fmt/format.h>

#include "backplane/v1/control.pb.h"

namespace backplane::follower {
namespace {

constexpr std::uint32_t protocol_version = 1;
// Replies are at most 256 KiB each, so this bounds what can be under way to us at once.
constexpr std::size_t out_max = 32;
constexpr std::size_t waiting_max = 100'000;
// A turn's replies, so that a burst of them cannot hold up live events.
constexpr std::size_t replies_a_turn_max = 16;

mq::SocketOptions control_options(std::int64_t max_message_bytes) {
  mq::SocketOptions options;
  options.send_hwm = 0;  // bounded by out_max
  options.receive_hwm = 0;
  options.max_message_bytes = max_message_bytes;
  options.linger = std::chrono::milliseconds{100};  // for the goodbye
  return options;
}

Error refusal(const v1::ControlError& error) {
  const ErrorCode code = error.code() == "draining"      ? ErrorCode::unavailable
                         : error.code() == "bad_pattern" ? ErrorCode::invalid_argument
                         : error.code() == "not_reached" ? ErrorCode::not_found
                                                         : ErrorCode::protocol;
  return Error{code, fmt::format("the broker refused: {} ({})", error.text(), error.code())};
}

}  // namespace

ControlChannel::ControlChannel(mq::Context& context, const std::string& endpoint,
                               std::int64_t max_message_bytes)
    : socket_(context, zmq::socket_type::dealer, control_options(max_message_bytes)),
      connection_(context, socket_, endpoint) {}

void ControlChannel::ask(v1::ControlRequest& request, std::chrono::milliseconds limit, Urgency urgency,
                         Handler handler) {
  request.set_version(protocol_version);
  request.clear_id();
  Asked asked{request.SerializeAsString(), limit, urgency, std::move(handler), {}};
  if (urgency == Urgency::now) {
    urgent_.push_back(std::move(asked));
  } else if (waiting_.size() < waiting_max) {
    waiting_.push_back(std::move(asked));
  } else {
    refused_.push_back(std::move(asked));
  }
}

void ControlChannel::tell(v1::ControlRequest& request) {
  if (!connected()) return;
  request.set_version(protocol_version);
  request.set_id(++last_id_);
  // A full queue is not waited for: who misses a goodbye notices the silence.
  (void)socket_.send(request.SerializeAsString(), zmq::send_flags::dontwait);
}

void ControlChannel::take_over(ControlChannel& other) {
  other.lose_connection();
  std::move(other.urgent_.begin(), other.urgent_.end(), std::back_inserter(urgent_));
  std::move(other.waiting_.begin(), other.waiting_.end(), std::back_inserter(waiting_));
  std::move(other.refused_.begin(), other.refused_.end(), std::back_inserter(refused_));
  other.urgent_.clear();
  other.waiting_.clear();
  other.refused_.clear();
}

std::size_t ControlChannel::do_work(Clock::time_point now) {
  std::size_t done = watch_connection(now);
  done += receive_replies();
  done += expire(now);
  done += send_waiting(now);
  return done;
}

std::size_t ControlChannel::watch_connection(Clock::time_point now) {
  std::size_t done = 0;
  for (auto change = connection_.next(); change != Connection::Change::none; change = connection_.next()) {
    if (change == Connection::Change::down) lose_connection();
    ++done;
  }
  connection_.keep_up(now);
  return done;
}

void ControlChannel::lose_connection() {
  // What was out is as good as unasked: the patient wait for the next broker, in their old order.
  for (auto entry = out_.rbegin(); entry != out_.rend(); ++entry) {
    auto& queue = entry->second.urgency == Urgency::now ? urgent_ : waiting_;
    queue.push_front(std::move(entry->second));
  }
  out_.clear();
}

std::size_t ControlChannel::receive_replies() {
  zmq::message_t frame;
  std::size_t done = 0;
  while (done < replies_a_turn_max && socket_.receive(frame)) {
    while (frame.more()) {
      zmq::message_t next;
      if (!socket_.receive(next)) break;
      frame = std::move(next);
    }
    ++done;
    handle_reply(frame);
  }
  return done;
}

void ControlChannel::handle_reply(const zmq::message_t& frame) {
  v1::ControlReply reply;
  if (!reply.ParseFromArray(frame.data(), static_cast<int>(frame.size()))) {
    ++stray_replies_;
    return;
  }
  const auto found = out_.find(reply.id());
  if (found == out_.end()) {
    ++stray_replies_;
    return;
  }
  const Asked asked = std::move(found->second);
  out_.erase(found);
  switch (reply.end_case()) {
    case v1::ControlReply::kError:
      return asked.handler(tl::unexpected(refusal(reply.error())));
    case v1::ControlReply::END_NOT_SET:
      return asked.handler(fail(ErrorCode::protocol, "the broker's reply has no end"));
    default:
      return asked.handler(&reply);
  }
}

std::size_t ControlChannel::expire(Clock::time_point now) {
  std::size_t done = 0;
  for (; !refused_.empty(); ++done) {
    const Asked asked = std::move(refused_.front());
    refused_.pop_front();
    asked.handler(
        fail(ErrorCode::exhausted, fmt::format("{} requests wait for the broker already", waiting_max)));
  }
  if (!connected()) {
    for (std::size_t count = urgent_.size(); count > 0 && !urgent_.empty(); --count, ++done) {
      const Asked asked = std::move(urgent_.front());
      urgent_.pop_front();
      asked.handler(fail(ErrorCode::unavailable, "no broker answers on control now"));
    }
  }
  std::vector<Asked> late;  // handlers may ask again, so they run when the map is at rest
  for (auto entry = out_.begin(); entry != out_.end();) {
    if (entry->second.deadline <= now) {
      late.push_back(std::move(entry->second));
      entry = out_.erase(entry);
    } else {
      ++entry;
    }
  }
  for (const Asked& asked : late) {
    asked.handler(
        fail(ErrorCode::timeout, fmt::format("the broker did not answer within {} ms", asked.limit.count())));
  }
  return done + late.size();
}

bool ControlChannel::may_send() const {
  return connected() && (!urgent_.empty() || (!waiting_.empty() && out_.size() < out_max));
}

std::size_t ControlChannel::send_waiting(Clock::time_point now) {
  std::size_t done = 0;
  while (may_send()) {
    auto& queue = urgent_.empty() ? waiting_ : urgent_;
    v1::ControlRequest id;  // protobuf merges what is concatenated: the id goes behind the rest
    id.set_id(++last_id_);
    if (!socket_.send(queue.front().bytes + id.SerializeAsString(), zmq::send_flags::dontwait)) break;
    Asked asked = std::move(queue.front());
    queue.pop_front();
    asked.deadline = now + asked.limit;
    out_.emplace(last_id_, std::move(asked));
    ++done;
  }
  return done;
}

bool ControlChannel::pending() {
  return may_send() || !refused_.empty() || (!connected() && !urgent_.empty()) || socket_.readable() ||
         connection_.pending();
}

ControlChannel::Clock::time_point ControlChannel::next_deadline() const {
  if (may_send() || !refused_.empty() || (!connected() && !urgent_.empty())) return Clock::time_point::min();
  auto earliest = connection_.next_deadline();
  for (const auto& [id, asked] : out_) earliest = std::min(earliest, asked.deadline);
  return earliest;
}

void ControlChannel::add_fds(std::vector<int>& fds) {
  fds.push_back(socket_.fd());
  fds.push_back(connection_.fd());
}

void ControlChannel::release() {
  socket_.release();
  connection_.release();
}

}  // namespace backplane::follower
