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

// Beyond so much that waits for the broker, no more is read from a client.
constexpr std::size_t unpublished_max = 1024;
constexpr std::size_t unpublished_bytes_max = 1u << 20;
// The same for other answers.
constexpr std::size_t in_turn_max = 4096;

}  // namespace

void CommandSession::obey(const Command& command) {
  std::visit([this](const auto& what) { execute(what); }, command);
}

void CommandSession::end_if_done() {
  if (!client().open() || unpublished_ > 0) return;
  if (quitting_) {
    if (may_end_) end_as_asked(ok_answer("QUIT", ""));
  } else if (client().input_ended() && !subscribed_ && subscribing_ == 0 && in_turn_ == 0) {
    client().end({});
  }
}

// ---- answers in their turn ----

std::string CommandSession::ok_answer(std::string_view verb, std::string_view what) const {
  std::string answer;
  append_ok(format(), verb, what, answer);
  return answer;
}

std::string CommandSession::error_answer(std::string_view code, std::string_view text) const {
  services().sessions.refusal(code);
  std::string answer;
  append_error(format(), code, text, answer);
  return answer;
}

template <class What>
void CommandSession::ask_in_turn(What what) {
  ++in_turn_;
  ask(std::move(what));
  hold_or_go_on();
}

void CommandSession::take_turn(std::string_view answer) {
  --in_turn_;
  client().reply(answer);
  hold_or_go_on();
  end_if_done();
}

void CommandSession::say(std::string answer) {
  if (in_turn_ == 0) return client().reply(answer);
  ask_in_turn(request::Echo{std::move(answer)});
}

void CommandSession::error(std::string_view code, std::string_view text) {
  services().sessions.refusal(code);
  std::string answer;
  append_error(asked_format_, code, text, answer);
  say(std::move(answer));
}

void CommandSession::hold_or_go_on() {
  const bool much =
      unpublished_ > unpublished_max || unpublished_bytes_ > unpublished_bytes_max || in_turn_ > in_turn_max;
  const bool little = unpublished_ <= unpublished_max / 2 &&
                      unpublished_bytes_ <= unpublished_bytes_max / 2 && in_turn_ <= in_turn_max / 2;
  if (much) client().pause_input(true);
  if (little) client().pause_input(false);
}

// ---- commands ----

void CommandSession::execute(const Subscribe& command) {
  if (command.policy) client().set_policy(*command.policy);
  ++subscribing_;
  ask(request::Subscribe{
      command.pattern,
      {.every = command.every, .last = command.last, .since = replay_from(command.since, unix_now_ns())}});
}

void CommandSession::execute(const Unsubscribe& command) {
  ask_in_turn(request::Unsubscribe{command.pattern});
}

void CommandSession::execute(const Publish& command) {
  ++unpublished_;
  unpublished_bytes_ += static_cast<std::uint32_t>(command.text.size());
  ask(request::Publish{command.topic, command.text});
  hold_or_go_on();
}

void CommandSession::ask_for_format(Format format) {
  asked_format_ = format;
  ask_in_turn(request::SetFormat{format});
}

void CommandSession::execute(const SetPolicy& command) {
  client().set_policy(command.policy);
  std::string answer;
  append_ok(asked_format_, "POLICY", name(command.policy), answer);
  say(std::move(answer));
}

void CommandSession::execute(const ListTopics& command) {
  ask_in_turn(request::Topics{command.pattern});
}

void CommandSession::execute(const Ping&) {
  std::string answer;
  append_pong(asked_format_, answer);
  say(std::move(answer));
}

void CommandSession::execute(const Help&) {
  std::string answer;
  append_lines(asked_format_, help_lines(), answer);
  append_ok(asked_format_, "HELP", "", answer);
  say(std::move(answer));
}

void CommandSession::execute(const Quit&) {
  quitting_ = true;
  ask(request::Quit{});
}

void CommandSession::execute(const BadCommand& command) {
  error(command.code, command.text);
}

// ---- answers ----

void CommandSession::on_subscribed(std::string_view pattern) {
  --subscribing_;
  client().reply(ok_answer("SUB", pattern));
}

void CommandSession::on_refused(std::string_view pattern, std::string_view code, std::string_view text) {
  --subscribing_;
  client().reply(error_answer(code, fmt::format("{}: {}", pattern, text)));
  end_if_done();
}

void CommandSession::on_unsubscribed(std::string_view pattern, bool was) {
  if (was) return take_turn(ok_answer("UNSUB", pattern));
  take_turn(error_answer("not_subscribed",
                         fmt::format("wanted a pattern that SUB was given, got \"{}\"", pattern)));
}

void CommandSession::on_format(Format format) {
  std::string answer;
  append_ok(Format::text, "FORMAT", name(format), answer);  // in lines also where messages follow
  set_format(format);
  take_turn(answer);
}

void CommandSession::on_echo(std::string_view answer) {
  take_turn(answer);
}

void CommandSession::on_topics(std::span<const TopicInfo> topics) {
  const std::int64_t now_ns = unix_now_ns();
  std::string answer;
  for (const TopicInfo& topic : topics) append_topic(format(), topic, now_ns, answer);
  client().reply(answer);
}

void CommandSession::on_topics_end(std::size_t count, std::string_view code, std::string_view text) {
  take_turn(code.empty() ? ok_answer("TOPICS", fmt::format_int(count).str()) : error_answer(code, text));
}

void CommandSession::on_published(std::string_view topic, std::size_t bytes, std::string_view code,
                                  std::string_view text) {
  --unpublished_;
  unpublished_bytes_ -= static_cast<std::uint32_t>(bytes);
  client().reply(code.empty() ? ok_answer("PUB", topic)
                              : error_answer(code, fmt::format("{}: {}", topic, text)));
  hold_or_go_on();
  end_if_done();
}

void CommandSession::on_quit() {
  may_end_ = true;
  end_if_done();
}

void CommandSession::on_subscriptions(bool any) {
  subscribed_ = any;
  client().exempt_from_timeouts(any);
  end_if_done();
}

}  // namespace backplane::gateway
