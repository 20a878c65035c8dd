#include "follower/control/retained_requests.hpp"

#include <algorithm>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "backplane/v1/control.pb.h"
#include "core/topic/topic.hpp"
#include "core/wire/stamp.hpp"
#include "follower/control/control_channel.hpp"

namespace backplane::follower {

RetainedRequests::RetainedRequests(RetainedSink& sink, ControlChannel& channel,
                                   std::chrono::milliseconds timeout)
    : sink_(sink), channel_(channel), timeout_(timeout) {}

void RetainedRequests::begin(std::uint64_t number, std::string_view pattern) {
  requests_.emplace(number, RetainedEnd{});
  send(number, std::string(pattern), {});
}

void RetainedRequests::send(std::uint64_t number, std::string pattern, std::string cursor) {
  v1::ControlRequest request;
  request.mutable_retained()->set_pattern(pattern);
  request.mutable_retained()->set_cursor(cursor);
  channel_.send(request, timeout_, ControlChannel::Urgency::can_wait,
                [this, number, alive = alive_.token(), pattern = std::move(pattern),
                 cursor = std::move(cursor)](const Result<const v1::ControlReply*>& reply) {
                  if (alive.expired()) return;
                  if (!reply && reply.error().code == ErrorCode::timeout) ++timeouts_;
                  if (!requests_.contains(number)) return;  // cancelled
                  if (!reply) return end(number, reply.error());
                  on_reply(number, pattern, cursor, **reply);
                });
}

void RetainedRequests::on_reply(std::uint64_t number, const std::string& pattern, const std::string& cursor,
                                const v1::ControlReply& reply) {
  // Later replies may or may not contain later events: the values are those of the first reply's position.
  if (cursor.empty()) requests_[number].as_of = {{reply.stream(), reply.position()}};
  if (const std::uint64_t valid = reply.retained().valid_ns(); valid > 0) {
    Clock::time_point& until = requests_[number].valid_until;
    const auto longest =
        static_cast<std::uint64_t>(std::chrono::nanoseconds{std::chrono::hours{24 * 365}}.count());
    until = std::min(until, now_ + std::chrono::nanoseconds{std::min(valid, longest)});
  }
  for (const v1::StoredEvent& stored : reply.retained().events()) {
    const auto event = std::as_bytes(std::span(stored.event()));
    const auto stamp = wire::read_stamp(event);
    if (!stamp || check_topic(stored.topic()) != TopicFault::none) {
      ++undecodable_;
      continue;
    }
    if (!requests_.contains(number)) return;
    sink_.retained(number, Delivery{stored.topic(), event, *stamp});
  }
  if (!requests_.contains(number)) return;
  if (!reply.has_more()) return end(number, std::nullopt);
  if (reply.more().cursor().empty() || reply.more().cursor() == cursor) {
    return end(number,
               Error{ErrorCode::protocol,
                     fmt::format("retained values of \"{}\": the broker repeats its cursor", pattern)});
  }
  send(number, pattern, reply.more().cursor());
}

void RetainedRequests::end(std::uint64_t number, std::optional<Error> error) {
  RetainedEnd ended = std::move(requests_[number]);
  requests_.erase(number);
  ended.error = std::move(error);
  sink_.retained_end(number, ended);
}

}  // namespace backplane::follower
