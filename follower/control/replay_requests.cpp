#include "follower/control/replay_requests.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "backplane/v1/control.pb.h"
#include "core/topic/topic.hpp"
#include "core/wire/stamp.hpp"
#include "follower/control/control_channel.hpp"

namespace backplane::follower {
namespace {

// Well below the 32 requests that a connection may have in flight.
constexpr std::size_t in_flight_max = 8;
// A refusal can be temporary: the broker is busy, or its control endpoint speaks for a new incarnation before
// egress does. A timeout can be too: a machine may stall for seconds.
constexpr int refusals_max = 5;
constexpr std::chrono::milliseconds refusal_backoff{100};

/// The incarnation that a reply is about.
std::uint64_t stream_of(const v1::ControlReply& reply) {
  return reply.replay().stream() == 0 ? reply.stream() : reply.replay().stream();
}

}  // namespace

ReplayRequests::ReplayRequests(ReplaySink& sink, std::chrono::milliseconds timeout, bool only_broker)
    : sink_(sink), timeout_(timeout), only_broker_(only_broker) {}
ReplayRequests::~ReplayRequests() = default;

void ReplayRequests::begin(std::uint64_t number, std::string_view pattern, ReplayFrom from) {
  Replay replay;
  replay.text = pattern;
  if (auto parsed = Pattern::parse(pattern)) replay.pattern = std::move(*parsed);
  replay.from = std::move(from);
  replays_.emplace(number, std::move(replay));
  queued_.push_back(number);
}

void ReplayRequests::more(std::uint64_t number) {
  const auto found = replays_.find(number);
  if (found == replays_.end() || found->second.state != Replay::State::idle) return;
  requeue(number, found->second);
}

void ReplayRequests::cancel(std::uint64_t number) {
  replays_.erase(number);
}

void ReplayRequests::requeue(std::uint64_t number, Replay& replay) {
  replay.state = Replay::State::queued;
  queued_.push_back(number);
}

std::size_t ReplayRequests::send(ControlChannel& channel, const StreamPosition& live_position,
                                 Clock::time_point now) {
  now_ = now;
  if (now < not_before_) return 0;
  std::size_t done = 0;
  for (std::size_t count = queued_.size(); count > 0 && in_flight_ < in_flight_max && now >= not_before_;
       --count, ++done) {
    const std::uint64_t number = queued_.front();
    queued_.pop_front();
    const auto found = replays_.find(number);
    if (found == replays_.end() || found->second.state != Replay::State::queued) continue;
    Replay& replay = found->second;
    if (!choose_start(replay, live_position)) {
      replay.state = Replay::State::idle;
      ReplaySlice slice;
      slice.complete = true;
      report(number, slice);
      continue;
    }
    if (replay.reset) {  // reported before any event of the new stream
      replay.state = Replay::State::idle;
      report(number, {});
      continue;
    }
    v1::ControlRequest request;
    write_request(replay, request);
    replay.state = Replay::State::in_flight;
    ++in_flight_;
    channel.send(request, timeout_, ControlChannel::Urgency::urgent,
                 [this, number, alive = alive_.token()](const Result<const v1::ControlReply*>& result) {
                   if (!alive.expired()) on_reply(number, result);
                 });
  }
  return done;
}

ReplayRequests::Clock::time_point ReplayRequests::request_deadline() const noexcept {
  return queued_.empty() || in_flight_ >= in_flight_max ? Clock::time_point::max() : not_before_;
}

bool ReplayRequests::choose_start(Replay& replay, const StreamPosition& live_position) {
  const std::uint64_t requested = std::exchange(replay.stream, live_position.stream);
  std::optional<StreamPosition> old;  // in a stream that is not the broker's current one
  if (replay.through) {
    if (replay.through->stream == live_position.stream) return true;
    // Reading an earlier incarnation: the cursor belongs to the current one.
    if (!replay.cursor.empty() && requested == live_position.stream) return true;
    old = replay.through;
  } else if (const auto* after = std::get_if<AfterPositions>(&replay.from)) {
    for (const StreamPosition& each : after->positions) {
      if (each.stream == live_position.stream) {
        replay.start = replay.through = each;
        return true;
      }
      if (!old || origin(each.stream) == origin(live_position.stream)) old = each;
    }
  } else {
    return true;
  }
  replay.cursor.clear();
  const bool same_broker = old && (only_broker_ || origin(old->stream) == origin(live_position.stream));
  if (same_broker && !replay.has_no_earlier) {
    // Perhaps the broker still has the rest of it.
    replay.start = replay.through = old;
    return true;
  }
  if (old) replay.reset = Reset{old->stream, live_position.stream};
  replay.start = replay.through =
      StreamPosition{live_position.stream, same_broker ? 0 : live_position.position};
  return same_broker;
}

void ReplayRequests::write_request(Replay& replay, v1::ControlRequest& request) {
  v1::ReplayRequest& replay_request = *request.mutable_replay();
  replay_request.set_pattern(replay.text);
  replay_request.set_cursor(replay.cursor);
  replay_request.set_earlier(true);
  if (replay.start) {
    replay_request.mutable_after_position()->set_stream(replay.start->stream);
    replay_request.mutable_after_position()->set_position(replay.start->position);
  } else if (const auto* offset = std::get_if<AfterOffset>(&replay.from)) {
    replay_request.set_after_offset(offset->offset);
  } else if (const auto* since = std::get_if<SinceTime>(&replay.from)) {
    replay_request.set_since_ns(since->unix_ns);
  } else if (const auto* ago = std::get_if<SinceAgo>(&replay.from)) {
    if (!replay.ago) replay.ago = ago->ago + std::max(Clock::now() - ago->at, Clock::duration{0});
    replay_request.set_since_ago_ns(static_cast<std::uint64_t>(replay.ago->count()));
  }
}

void ReplayRequests::on_reply(std::uint64_t number, const Result<const v1::ControlReply*>& result) {
  --in_flight_;
  auto found = replays_.find(number);
  if (found == replays_.end()) return;
  if (!result) return on_failed(number, found->second, result.error());
  const v1::ControlReply& reply = **result;
  if (reply.stream() != found->second.stream) {
    return on_failed(
        number, found->second,
        Error{ErrorCode::protocol, fmt::format("expected a reply for stream {:016x}, got one for {:016x}",
                                               found->second.stream, reply.stream())});
  }
  if (reply.has_gone()) return on_gone(number, found->second, reply);
  const bool delivered_any = deliver(number, reply);
  found = replays_.find(number);
  if (found == replays_.end()) return;  // the sink cancelled it
  Replay& replay = found->second;
  replay.refusals = 0;
  const std::uint64_t stream = stream_of(reply);
  if (replay.through && replay.through->stream != stream) {
    replay.reset = Reset{replay.through->stream, stream};
    replay.through.reset();
  }
  const std::uint64_t before = replay.through ? replay.through->position : 0;
  replay.through = StreamPosition{stream, std::max(before, reply.replay().through_position())};
  if (!reply.has_more()) {
    replay.start = replay.through;
    replay.cursor.clear();
    replay.state = Replay::State::idle;
    ReplaySlice slice;
    slice.complete = true;
    return report(number, slice);
  }
  if (!delivered_any && reply.more().cursor() == replay.cursor) {
    return on_failed(number, replay, Error{ErrorCode::protocol, "the broker repeats its cursor"});
  }
  replay.cursor = reply.more().cursor();
  if (!delivered_any && !replay.reset) return requeue(number, replay);
  replay.state = Replay::State::idle;
  report(number, {});
}

bool ReplayRequests::deliver(std::uint64_t number, const v1::ControlReply& reply) {
  // In their place among the events. @returns false if the sink has cancelled the replay.
  int reported = 0;
  const auto report_destroyed = [&](std::uint64_t before) {
    for (; reported < reply.replay().destroyed_size(); ++reported) {
      const v1::DestroyedEvents& each = reply.replay().destroyed(reported);
      if (each.position() >= before) return true;
      const auto found = replays_.find(number);
      if (found == replays_.end()) return false;
      const std::optional<Pattern>& pattern = found->second.pattern;
      if (check_topic(each.topic()) != TopicFault::none || !pattern || !pattern->matches(each.topic()) ||
          each.first_offset() > each.last_offset() || each.last_offset() == 0) {
        ++undecodable_;
        continue;
      }
      sink_.replayed_gap(
          number, Gap{stream_of(reply), each.topic(), each.first_offset(), each.last_offset(),
                      each.upstream() ? GapReason::lost_upstream : GapReason::damaged, each.position()});
    }
    return true;
  };
  for (const v1::StoredEvent& stored : reply.replay().events()) {
    const auto found = replays_.find(number);
    if (found == replays_.end()) break;
    const auto event = std::as_bytes(std::span(stored.event()));
    const auto stamp = wire::read_stamp(event);
    const std::optional<Pattern>& pattern = found->second.pattern;
    if (!stamp || stamp->stream != stream_of(reply) || check_topic(stored.topic()) != TopicFault::none ||
        !pattern || !pattern->matches(stored.topic())) {
      ++undecodable_;
      continue;
    }
    const std::optional<StreamPosition>& through = found->second.through;
    if (through && through->stream == stamp->stream && stamp->position <= through->position) continue;
    if (!report_destroyed(stamp->position)) break;
    sink_.replayed(number, Delivery{stored.topic(), event, *stamp});
  }
  (void)report_destroyed(std::numeric_limits<std::uint64_t>::max());
  return reply.replay().events_size() > 0 || reply.replay().destroyed_size() > 0;
}

void ReplayRequests::on_gone(std::uint64_t number, Replay& replay, const v1::ControlReply& reply) {
  const std::uint64_t first = reply.gone().first_available();
  const std::uint64_t stream = stream_of(reply);
  if (first == 0 ||
      (replay.through && replay.through->stream == stream && first - 1 <= replay.through->position)) {
    return on_failed(
        number, replay,
        Error{ErrorCode::protocol,
              fmt::format("the broker's history begins at position {}, which has been read already", first)});
  }
  replay.start = replay.through = StreamPosition{stream, first - 1};
  replay.cursor.clear();
  replay.state = Replay::State::idle;
  ReplaySlice slice;
  slice.gone = ReplaySlice::Gone{stream, first, reply.gone().first_available_offset()};
  report(number, slice);
}

void ReplayRequests::on_failed(std::uint64_t number, Replay& replay, const Error& error) {
  switch (error.code) {
    case ErrorCode::unavailable:
      return requeue(number, replay);  // once there is a broker again
    case ErrorCode::not_found:
      // The stream has not reached the position, which must be one of another stream with the same number.
      replay.reset = Reset{replay.stream, replay.stream};
      replay.start = replay.through = StreamPosition{replay.stream, 0};
      replay.cursor.clear();
      return requeue(number, replay);
    case ErrorCode::protocol:
      if (replay.start && replay.start->stream != replay.stream && !replay.has_no_earlier) {
        replay.has_no_earlier = true;
        replay.cursor.clear();
        return requeue(number, replay);
      }
      if (++replay.refusals > refusals_max) break;
      // The cursor may be of an earlier incarnation. What has been delivered is known without it.
      if (!replay.cursor.empty() && replay.through && replay.through->position > 0)
        replay.start = replay.through;
      replay.cursor.clear();
      not_before_ = now_ + refusal_backoff;
      return requeue(number, replay);
    case ErrorCode::exhausted:
      if (++replay.refusals > refusals_max) break;
      not_before_ = now_ + refusal_backoff;
      return requeue(number, replay);
    case ErrorCode::timeout:
      ++timeouts_;
      if (++replay.refusals > refusals_max) break;
      return requeue(number, replay);
    default:
      break;
  }
  ReplaySlice slice;
  slice.error = error;
  report(number, slice);
  replays_.erase(number);
}

void ReplayRequests::report(std::uint64_t number, ReplaySlice slice) {
  const auto found = replays_.find(number);
  if (found == replays_.end()) return;
  if (found->second.through) {
    slice.through = {*found->second.through};
  }
  slice.reset = std::exchange(found->second.reset, std::nullopt);
  sink_.replay_slice(number, slice);
}

}  // namespace backplane::follower
