#include "gateway/protocols/sse/sse_session.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <utility>
#include <variant>

#include <fmt/format.h>

#include "follower/order/resume_token.hpp"

namespace backplane::gateway::sse {
namespace {

using namespace std::chrono_literals;

// Proxies close a response in which nothing arrives for 30 or 60 s.
constexpr auto comment_interval = 15s;
constexpr std::string_view comment = ":\n\n";
// How long a browser waits before it reconnects.
constexpr std::string_view retry = "retry: 2000\n\n";

}  // namespace

http::Response stream_head() {
  return {200,
          {{"Content-Type", "text/event-stream"},
           {"Cache-Control", "no-cache, no-transform"},
           {"X-Accel-Buffering", "no"},
           {"X-Content-Type-Options", "nosniff"}},
          {}};
}

SseSession::SseSession(fanout::Client& client, const Services& services, http::Counters& counters,
                       http::Response head)
    : Session(client, services, Format::sse), counters_(counters), head_(std::move(head)) {
  counters_.sse_begins();
}

SseSession::~SseSession() {
  counters_.sse_ends();
}

void SseSession::begin(const std::vector<Subscribe>& subscribes, std::string_view remark) {
  remark_ = remark;
  waiting_ = subscribes.size();
  numbered_ = std::none_of(subscribes.begin(), subscribes.end(), [&](const Subscribe& each) {
    const bool replayed = !std::holds_alternative<std::monostate>(each.since);
    return replayed ? subscribes.size() > 1 : each.last;
  });
  send_request(request::SetFormat{numbered_ ? Format::sse : Format::sse_without_ids});
  for (const Subscribe& each : subscribes) {
    if (each.policy) client().set_policy(*each.policy);
    send_request(request::Subscribe{
        each.pattern,
        {.every = each.every, .last = each.last, .since = replay_from(each.since, client().now())}});
  }
}

void SseSession::begin_stream() {
  if (std::exchange(streaming_, true)) return;
  counters_.response(200);
  std::string out;
  append_head(std::exchange(head_, {}), http::Framing::until_close, false, out);
  out += retry;
  if (!remark_.empty()) out += fmt::format(": {}\n\n", std::exchange(remark_, {}));
  client().reply(out);
  client().set_alarm(client().now() + comment_interval);
}

/// Called before the stream has begun.
void SseSession::refuse(std::string_view code, std::string_view text) {
  http::Response response = code == not_permitted || code == not_authenticated
                                ? http::access_problem(code, text)
                                : http::problem(code == "unavailable" ? 503 : 400, code, text);
  counters_.response(response.status);
  std::string out;
  // The CORS fields are those of the stream.
  for (auto& field : head_.fields) {
    if (field.first == "Access-Control-Allow-Origin" || field.first == "Vary")
      response.fields.push_back(std::move(field));
  }
  append_head(response, http::Framing::length, false, out);
  client().end(out + response.body);
}

void SseSession::on_input_end() {
  // Before the stream begins, its head is the first thing that is written.
  if (streaming_ && client().backlog().empty()) client().reply(comment);
}

void SseSession::on_alarm() {
  const auto quiet_until = client().active_at() + comment_interval;
  if (client().now() < quiet_until) return client().set_alarm(quiet_until);
  // A client with unread data needs no comment.
  if (client().backlog().empty()) client().reply(comment);
  client().set_alarm(client().now() + comment_interval);
}

void SseSession::close_with_reason(std::string_view reason) {
  if (streaming_) return Session::close_with_reason(reason);
  refuse("unavailable", fmt::format("the connection is closed: {}", reason));
}

void SseSession::on_subscribed(std::string_view) {
  begin_stream();
  if (waiting_ == 0 || --waiting_ > 0) return;
  // The hub executes both after the backfill of every subscription.
  if (!numbered_) send_request(request::SetFormat{Format::sse});
  send_request(request::ReportPosition{});
}

void SseSession::on_position(const StreamPositions& reached) {
  if (reached.empty()) return;  // it keeps the position that it has
  client().reply(fmt::format("id: {}\n\n", resume_token(reached)));
}

void SseSession::on_refused(std::string_view pattern, std::string_view code, std::string_view text) {
  if (!streaming_) return refuse(code, fmt::format("{}: {}", pattern, text));
  // The stream has begun with the other subscriptions, and is not what the client requested.
  say_goodbye(code);
}

void SseSession::on_subscriptions(bool any) {
  client().exempt_from_timeouts(any);
}

void SseSession::on_broker(bool up) {
  begin_stream();
  Session::on_broker(up);
}

}  // namespace backplane::gateway::sse
