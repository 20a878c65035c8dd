#include "follower/control/control_channel.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

#include <fmt/format.h>

#include "backplane/v1/control.pb.h"

namespace backplane::follower {
namespace {

constexpr std::uint32_t protocol_version = 1;
// Replies have at most 256 KiB each, which bounds the bytes that can be in flight to us.
constexpr std::size_t in_flight_max = 32;
constexpr std::size_t queued_max = 100'000;
// A burst of replies must not delay live events.
constexpr std::size_t replies_per_turn_max = 16;
// How often to look whether a part of a reply has arrived.
constexpr std::chrono::milliseconds look_interval{100};
// A connection on which requests stay unanswered for so long, with no part of a reply, has ended, whatever
// the kernel knows of it.
constexpr std::chrono::seconds silence_max{6};

mq::SocketOptions control_options(std::int64_t max_message_bytes, const mq::SharedKeys& keys) {
  mq::SocketOptions options;
  options.curve_client = mq::curve_of(keys);
  options.send_hwm = 0;  // bounded by in_flight_max
  options.receive_hwm = 0;
  options.max_message_bytes = max_message_bytes;
  options.linger = std::chrono::milliseconds{100};  // for the goodbye
  return options;
}

Error refusal(const v1::ControlError& error) {
  const ErrorCode code = error.code() == "draining"      ? ErrorCode::unavailable
                         : error.code() == "bad_pattern" ? ErrorCode::invalid_argument
                         : error.code() == "not_reached" ? ErrorCode::not_found
                         : error.code() == "busy"        ? ErrorCode::exhausted
                                                         : ErrorCode::protocol;
  return Error{code, fmt::format("the broker refused: {} ({})", error.text(), error.code())};
}

}  // namespace

ControlChannel::ControlChannel(mq::Context& context, const std::string& endpoint, const mq::SharedKeys& keys,
                               std::int64_t max_message_bytes)
    : socket_(context, zmq::socket_type::dealer, control_options(max_message_bytes, keys)),
      connection_(context, socket_, endpoint, keys) {}

void ControlChannel::send(v1::ControlRequest& request, std::chrono::milliseconds timeout, Urgency urgency,
                          Handler handler, std::function<void()> on_progress) {
  request.set_version(protocol_version);
  request.clear_id();
  Request queued;
  queued.bytes = request.SerializeAsString();
  queued.timeout = timeout;
  queued.urgency = urgency;
  queued.handler = std::move(handler);
  queued.on_progress = std::move(on_progress);
  if (urgency == Urgency::urgent) {
    urgent_.push_back(std::move(queued));
  } else if (queued_.size() < queued_max) {
    queued_.push_back(std::move(queued));
  } else {
    rejected_.push_back(std::move(queued));
  }
}

void ControlChannel::post(v1::ControlRequest& request) {
  if (!connected()) return;
  request.set_version(protocol_version);
  request.set_id(++last_id_);
  // If the queue is full, the goodbye is dropped: the broker notices missing Hellos.
  (void)socket_.send(request.SerializeAsString(), zmq::send_flags::dontwait);
}

std::size_t ControlChannel::do_work(Clock::time_point now) {
  std::size_t done = watch_connection(now);
  done += receive_replies(now);
  look_for_parts(now);
  done += expire(now);
  done += send_queued(now);
  return done;
}

std::size_t ControlChannel::watch_connection(Clock::time_point now) {
  std::size_t done = 0;
  for (auto change = connection_.next(); change != Connection::Change::none; change = connection_.next()) {
    if (change == Connection::Change::down) requeue_in_flight();
    if (change == Connection::Change::up) ++connections_;
    reply_size_.reset();
    received_bytes_ = 0;
    unanswered_since_.reset();
    ++done;
  }
  connection_.reconnect_if_stalled(now);
  return done;
}

void ControlChannel::requeue_in_flight() {
  // Requests in flight will get no reply. They are sent again, in their old order.
  for (auto entry = in_flight_.rbegin(); entry != in_flight_.rend(); ++entry) {
    auto& queue = entry->second.urgency == Urgency::urgent ? urgent_ : queued_;
    queue.push_front(std::move(entry->second));
  }
  in_flight_.clear();
}

std::size_t ControlChannel::receive_replies(Clock::time_point now) {
  zmq::message_t frame;
  std::size_t done = 0;
  while (done < replies_per_turn_max && socket_.receive(frame)) {
    while (frame.more()) {
      zmq::message_t next;
      if (!socket_.receive(next)) break;
      frame = std::move(next);
    }
    ++done;
    handle_reply(frame, now);
  }
  return done;
}

void ControlChannel::handle_reply(const zmq::message_t& frame, Clock::time_point now) {
  v1::ControlReply reply;
  if (!reply.ParseFromArray(frame.data(), static_cast<int>(frame.size()))) return;
  skip_look_ = true;
  const bool others_wait = in_flight_.size() > in_flight_.count(reply.id());
  unanswered_since_ = others_wait ? std::optional(now) : std::nullopt;
  const Clock::time_point before = std::exchange(last_reply_, now);
  // Replies to later requests are behind this one.
  for (auto later = in_flight_.upper_bound(reply.id()); later != in_flight_.end(); ++later) {
    extend(later->second, now);
  }
  const auto found = in_flight_.find(reply.id());
  if (found == in_flight_.end()) return;  // its request has timed out
  const Request request = std::move(found->second);
  in_flight_.erase(found);
  reply_size_.on_reply(
      {request.reply_bytes_max, frame.size(), now - std::max(request.sent, before), request.alone}, now);
  switch (reply.end_case()) {
    case v1::ControlReply::kError:
      return request.handler(tl::unexpected(refusal(reply.error())));
    case v1::ControlReply::END_NOT_SET:
      return request.handler(fail(ErrorCode::protocol, "the broker's reply has no end"));
    default:
      return request.handler(&reply);
  }
}

/// A message that has arrived in part shows only in the bytes that the connection has received.
void ControlChannel::look_for_parts(Clock::time_point now) {
  if (in_flight_.empty() || now < look_at_) return;
  look_at_ = now + look_interval;
  const std::uint64_t received = connection_.received_bytes().value_or(received_bytes_);
  const bool more = received > std::exchange(received_bytes_, received);
  if (std::exchange(skip_look_, false) || !more) return;
  unanswered_since_ = now;
  for (auto& [id, request] : in_flight_) extend(request, now);
}

void ControlChannel::extend(Request& request, Clock::time_point now) {
  request.deadline = std::min(now + request.timeout,
                              request.sent + std::max<Clock::duration>(request.timeout, reply_time_max));
  if (request.on_progress) request.on_progress();
}

std::size_t ControlChannel::expire(Clock::time_point now) {
  std::size_t done = 0;
  for (; !rejected_.empty(); ++done) {
    const Request request = std::move(rejected_.front());
    rejected_.pop_front();
    request.handler(
        fail(ErrorCode::exhausted, fmt::format("{} requests are waiting for the broker", queued_max)));
  }
  if (!connected()) {
    for (std::size_t count = urgent_.size(); count > 0 && !urgent_.empty(); --count, ++done) {
      const Request request = std::move(urgent_.front());
      urgent_.pop_front();
      const std::string problem = keys().text();
      request.handler(fail(ErrorCode::unavailable,
                           problem.empty() ? "no connection to the broker's control endpoint" : problem));
    }
  }
  std::vector<Request> late;  // handlers may send requests, so they run after the loop
  for (auto entry = in_flight_.begin(); entry != in_flight_.end();) {
    if (entry->second.deadline <= now) {
      late.push_back(std::move(entry->second));
      entry = in_flight_.erase(entry);
    } else {
      ++entry;
    }
  }
  if (!late.empty()) {
    reply_size_.reset();
    if (unanswered_since_ && now - *unanswered_since_ >= silence_max) connection_.replace();
  }
  for (const Request& request : late) {
    request.handler(fail(ErrorCode::timeout,
                         fmt::format("the broker did not reply within {} ms", request.timeout.count())));
  }
  return done + late.size();
}

bool ControlChannel::can_send() const {
  return connected() && (!urgent_.empty() || (!queued_.empty() && in_flight_.size() < in_flight_max));
}

std::size_t ControlChannel::send_queued(Clock::time_point now) {
  std::size_t done = 0;
  while (can_send()) {
    auto& queue = urgent_.empty() ? queued_ : urgent_;
    v1::ControlRequest rest;  // protobuf merges concatenated messages
    rest.set_id(++last_id_);
    const std::size_t reply_bytes_max = reply_size_.next(now);
    if (reply_bytes_max < ReplySize::most)
      rest.set_reply_bytes_max(static_cast<std::uint32_t>(reply_bytes_max));
    if (!socket_.send(queue.front().bytes + rest.SerializeAsString(), zmq::send_flags::dontwait)) break;
    Request request = std::move(queue.front());
    queue.pop_front();
    request.sent = now;
    if (!unanswered_since_) unanswered_since_ = now;
    request.deadline = now + request.timeout;
    request.reply_bytes_max = reply_bytes_max;
    request.alone = in_flight_.empty();
    if (request.alone) {
      look_at_ = now + look_interval;
      skip_look_ = true;
    }
    in_flight_.emplace(last_id_, std::move(request));
    ++done;
  }
  return done;
}

bool ControlChannel::pending() {
  return can_send() || !rejected_.empty() || (!connected() && !urgent_.empty()) || socket_.readable() ||
         connection_.pending();
}

ControlChannel::Clock::time_point ControlChannel::next_deadline() const {
  if (can_send() || !rejected_.empty() || (!connected() && !urgent_.empty())) return Clock::time_point::min();
  auto earliest = connection_.next_deadline();
  if (!in_flight_.empty()) earliest = std::min(earliest, look_at_);
  for (const auto& [id, request] : in_flight_) earliest = std::min(earliest, request.deadline);
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
