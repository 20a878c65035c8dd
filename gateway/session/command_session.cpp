#include "gateway/session/command_session.hpp"

#include <cstdint>
#include <utility>
#include <variant>

#include <fmt/format.h>

#include "core/time/duration.hpp"
#include "gateway/commands/line_grammar.hpp"
#include "gateway/session/notice.hpp"

namespace backplane::gateway {
namespace {

// With more unpublished events of one client, its input is paused.
constexpr std::size_t unpublished_max = 1024;
constexpr std::size_t unpublished_bytes_max = 1u << 20;
// The same for subscriptions that wait for the broker or the hub.
constexpr std::size_t subscribing_max = 1024;
// The same for other commands that wait for their reply.
constexpr std::size_t in_turn_max = 1024;

}  // namespace

void CommandSession::run(const Command& command) {
  std::visit([this](const auto& what) { execute(what); }, command);
}

void CommandSession::end_if_done() {
  if (!client().open() || unpublished_ > 0) return;
  if (quitting_) {
    if (may_end_) end_after_quit(ok_reply("QUIT", ""));
  } else if (client().input_ended() && !subscribed_ && subscribing_ == 0 && in_turn_ == 0) {
    client().end({});
  }
}

// ---- replies in their turn ----

std::string CommandSession::ok_reply(std::string_view verb, std::string_view what) const {
  std::string reply;
  append_ok(format(), verb, what, reply);
  return reply;
}

std::string CommandSession::error_reply(std::string_view code, std::string_view text) const {
  services().sessions.refusal(code);
  std::string reply;
  append_error(format(), code, text, reply);
  return reply;
}

template <class What>
void CommandSession::request_in_turn(What what) {
  ++in_turn_;
  send_request(std::move(what));
  pause_or_resume_input();
}

void CommandSession::send_in_turn(std::string_view reply) {
  --in_turn_;
  client().reply(reply);
  pause_or_resume_input();
  end_if_done();
}

void CommandSession::reply_in_turn(std::string reply) {
  if (in_turn_ == 0) return client().reply(reply);
  request_in_turn(request::Echo{std::move(reply)});
}

void CommandSession::error(std::string_view code, std::string_view text) {
  services().sessions.refusal(code);
  std::string reply;
  append_error(requested_format_, code, text, reply);
  reply_in_turn(std::move(reply));
}

void CommandSession::pause_or_resume_input() {
  const bool many = authenticating_ > 0 || unpublished_ > unpublished_max ||
                    unpublished_bytes_ > unpublished_bytes_max || subscribing_ > subscribing_max ||
                    in_turn_ > in_turn_max;
  const bool few = authenticating_ == 0 && unpublished_ <= unpublished_max / 2 &&
                   unpublished_bytes_ <= unpublished_bytes_max / 2 && subscribing_ <= subscribing_max / 2 &&
                   in_turn_ <= in_turn_max / 2;
  if (many) client().pause_input(true);
  if (few) client().pause_input(false);
}

// ---- commands ----

void CommandSession::execute(const Subscribe& command) {
  if (command.policy) client().set_policy(*command.policy);
  ++subscribing_;
  send_request(request::Subscribe{
      command.pattern,
      {.every = command.every, .last = command.last, .since = replay_from(command.since, client().now())}});
  pause_or_resume_input();
}

void CommandSession::execute(const Unsubscribe& command) {
  request_in_turn(request::Unsubscribe{command.pattern});
}

void CommandSession::execute(const Publish& command) {
  ++unpublished_;
  unpublished_bytes_ += static_cast<std::uint32_t>(command.text.size());
  // Some devices publish once an hour. Closing such a connection would lose the next event.
  if (!std::exchange(publishes_, true)) client().exempt_from_timeouts(true);
  send_request(request::Publish{command.topic, command.text});
  pause_or_resume_input();
}

void CommandSession::request_format(Format format) {
  requested_format_ = format;
  request_in_turn(request::SetFormat{format});
}

void CommandSession::execute(const SetPolicy& command) {
  client().set_policy(command.policy);
  std::string reply;
  append_ok(requested_format_, "POLICY", name(command.policy), reply);
  reply_in_turn(std::move(reply));
}

void CommandSession::execute(const ListTopics& command) {
  request_in_turn(request::Topics{command.pattern});
}

void CommandSession::execute(const ReportPosition&) {
  request_in_turn(request::ReportPosition{.verified = true});
}

void CommandSession::execute(const Authenticate& command) {
  if (services().access == nullptr) {
    return error(not_authenticated, "this gateway has no policy, and serves every client without a token");
  }
  // What follows waits for the verdict, which may take seconds: it waits in the client's socket, not in
  // memory.
  ++authenticating_;
  request_in_turn(request::Authenticate{command.token});
}

void CommandSession::execute(const Ping&) {
  std::string reply;
  append_pong(requested_format_, reply);
  reply_in_turn(std::move(reply));
}

void CommandSession::execute(const Help&) {
  std::string reply;
  append_lines(requested_format_, help_lines(), reply);
  append_ok(requested_format_, "HELP", "", reply);
  reply_in_turn(std::move(reply));
}

void CommandSession::execute(const Quit&) {
  quitting_ = true;
  send_request(request::Quit{});
}

void CommandSession::execute(const BadCommand& command) {
  error(command.code, command.text);
}

// ---- results ----

void CommandSession::on_subscribed(std::string_view pattern) {
  --subscribing_;
  client().reply(ok_reply("SUB", pattern));
  pause_or_resume_input();
}

void CommandSession::on_refused(std::string_view pattern, std::string_view code, std::string_view text) {
  --subscribing_;
  client().reply(error_reply(code, fmt::format("{}: {}", pattern, text)));
  pause_or_resume_input();
  end_if_done();
}

void CommandSession::on_unsubscribed(std::string_view pattern, bool was_subscribed) {
  if (was_subscribed) return send_in_turn(ok_reply("UNSUB", pattern));
  send_in_turn(
      error_reply("not_subscribed", fmt::format("expected a subscribed pattern, got \"{}\"", pattern)));
}

void CommandSession::on_format(Format format) {
  std::string reply;
  append_ok(Format::text, "FORMAT", name(format), reply);  // a line, also before messages
  set_format(format);
  send_in_turn(reply);
}

void CommandSession::on_position(const StreamPositions& reached) {
  send_in_turn(ok_reply("POSITION", resume_token(reached)));
}

void CommandSession::on_echo(std::string_view reply) {
  send_in_turn(reply);
}

void CommandSession::on_authenticated(const Rights& rights, const AccessRefusal& refusal,
                                      std::chrono::seconds /*retry_after*/) {
  --authenticating_;
  send_in_turn(refusal.code.empty() ? ok_reply("AUTH", rights.user)
                                    : error_reply(refusal.code, refusal.text));
}

void CommandSession::on_topics(std::span<const TopicInfo> topics) {
  const std::int64_t now_ns = unix_now_ns();
  std::string reply;
  for (const TopicInfo& topic : topics) append_topic(format(), topic, now_ns, reply);
  client().reply(reply);
}

void CommandSession::on_topics_end(std::size_t count, std::string_view code, std::string_view text) {
  send_in_turn(code.empty() ? ok_reply("TOPICS", fmt::format_int(count).str()) : error_reply(code, text));
}

void CommandSession::on_published(std::string_view topic, std::size_t bytes, std::string_view code,
                                  std::string_view text) {
  --unpublished_;
  unpublished_bytes_ -= static_cast<std::uint32_t>(bytes);
  client().reply(code.empty() ? ok_reply("PUB", topic)
                              : error_reply(code, fmt::format("{}: {}", topic, text)));
  pause_or_resume_input();
  end_if_done();
}

void CommandSession::on_quit() {
  may_end_ = true;
  end_if_done();
}

void CommandSession::on_subscriptions(bool any) {
  subscribed_ = any;
  client().exempt_from_timeouts(any || publishes_);
  end_if_done();
}

}  // namespace backplane::gateway
