#include "gateway/protocols/line/line_session.hpp"

#include <chrono>
#include <utility>
#include <variant>

#include <fmt/format.h>

#include "gateway/notice.hpp"
#include "gateway/protocols/first_line.hpp"
#include "gateway/protocols/line/command.hpp"
#include "gateway/protocols/proto/client_message.hpp"

namespace backplane::gateway::line {
namespace {

// Beyond so much that waits for the broker, no more is read from a client.
constexpr std::size_t unpublished_max = 1024;
constexpr std::size_t unpublished_bytes_max = 1u << 20;
// The same for other answers.
constexpr std::size_t in_turn_max = 4096;
// What a ClientMessage has beside the text that it publishes: a topic, and a few bytes for each field.
constexpr std::size_t message_bytes_extra = 512;

std::int64_t unix_now_ns() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
}

}  // namespace

LineSession::LineSession(fanout::Client& client, const Services& services)
    : Session(client, services, Format::text), lines_(services.limits) {}

// ---- input ----

void LineSession::on_bytes(std::string_view bytes) {
  if (!messages_) {
    bytes =
        lines_.feed(bytes, [this](std::string_view line, bool too_long) { return on_line(line, too_long); });
  }
  if (messages_ && !bytes.empty()) on_messages(bytes);
}

void LineSession::on_messages(std::string_view bytes) {
  const auto fault = messages_->feed(bytes, [this](std::string_view message) {
    return client().open() && !quitting_ && obey(proto::parse_message(message));
  });
  if (fault == proto::MessageReader::Fault::none || !client().open()) return;
  const bool too_long = fault == proto::MessageReader::Fault::too_long;
  error(too_long ? "message_too_long" : "malformed",
        too_long ? fmt::format("wanted a message of at most {} bytes",
                               services().limits.publish_bytes_max + message_bytes_extra)
                 : "wanted a message behind its length, a varint of at most 5 bytes");
  say_goodbye(too_long ? "message_too_long" : "malformed");
}

void LineSession::on_input_end() {
  if (!messages_) {
    lines_.finish([this](std::string_view line, bool too_long) {
      // Who died while sending has a half event here, which is nobody's.
      if (line.starts_with("PUB ")) {
        error("half_line", "wanted a line that ends in LF, got the end of input: nothing was published");
        return false;
      }
      return on_line(line, too_long);
    });
  } else if (!messages_->at_boundary()) {
    error("half_message", "wanted a whole message, got the end of input");
  }
  end_if_done();
}

/// Half-closing is not leaving, but who neither sends nor waits for anything is done.
void LineSession::end_if_done() {
  if (!client().open() || unpublished_ > 0) return;
  if (quitting_) {
    if (may_end_) client().end(ok_answer("QUIT", ""));
  } else if (client().input_ended() && !subscribed_ && subscribing_ == 0 && in_turn_ == 0) {
    client().end({});
  }
}

bool LineSession::on_line(std::string_view line, bool too_long) {
  if (!client().open() || quitting_) return false;
  // A browser can be made to send a page's text here: what comes behind an HTTP request is not obeyed.
  if (std::exchange(first_line_, false) && protocol_of(line) == Protocol::http) {
    error("not_http", "this port speaks the line protocol: wanted a command, see HELP; got an HTTP request");
    say_goodbye("not_http");
    return false;
  }
  if (!too_long) return obey(parse_command(line));
  error("line_too_long", fmt::format("wanted at most {} bytes, and {} where the line is a PUB; the rest of "
                                     "it is skipped",
                                     services().limits.line_bytes_max, services().limits.publish_bytes_max));
  return true;
}

bool LineSession::obey(const Command& command) {
  const bool spoke_lines = !messages_;
  std::visit([this](const auto& what) { execute(what); }, command);
  return client().open() && !quitting_ && spoke_lines == !messages_;
}

// ---- answers in their turn ----

std::string LineSession::ok_answer(std::string_view verb, std::string_view what) const {
  std::string answer;
  append_ok(format(), verb, what, answer);
  return answer;
}

std::string LineSession::error_answer(std::string_view code, std::string_view text) const {
  std::string answer;
  append_error(format(), code, text, answer);
  return answer;
}

template <class What>
void LineSession::ask_in_turn(What what) {
  ++in_turn_;
  ask(std::move(what));
  hold_or_go_on();
}

void LineSession::take_turn(std::string_view answer) {
  --in_turn_;
  client().reply(answer);
  hold_or_go_on();
  end_if_done();
}

void LineSession::say(std::string answer) {
  if (in_turn_ == 0) return client().reply(answer);
  ask_in_turn(request::Say{std::move(answer)});
}

void LineSession::error(std::string_view code, std::string_view text) {
  std::string answer;
  append_error(asked_format_, code, text, answer);
  say(std::move(answer));
}

void LineSession::hold_or_go_on() {
  const bool much =
      unpublished_ > unpublished_max || unpublished_bytes_ > unpublished_bytes_max || in_turn_ > in_turn_max;
  const bool little = unpublished_ <= unpublished_max / 2 &&
                      unpublished_bytes_ <= unpublished_bytes_max / 2 && in_turn_ <= in_turn_max / 2;
  if (much) client().hold_input(true);
  if (little) client().hold_input(false);
}

// ---- commands ----

void LineSession::execute(const Subscribe& command) {
  if (command.policy) client().set_policy(*command.policy);
  ++subscribing_;
  ask(request::Subscribe{
      command.pattern,
      {.every = command.every, .last = command.last, .since = replay_from(command.since, unix_now_ns())}});
}

void LineSession::execute(const Unsubscribe& command) {
  ask_in_turn(request::Unsubscribe{command.pattern});
}

void LineSession::execute(const Publish& command) {
  ++unpublished_;
  unpublished_bytes_ += command.text.size();
  ask(request::Publish{command.topic, command.text});
  hold_or_go_on();
}

void LineSession::execute(const SetFormat& command) {
  asked_format_ = command.format;
  ask_in_turn(request::SetFormat{command.format});
  if (command.format != Format::proto) return;
  const std::size_t message_bytes_max = services().limits.publish_bytes_max + message_bytes_extra;
  messages_ = std::make_unique<proto::MessageReader>(message_bytes_max);
}

void LineSession::execute(const SetPolicy& command) {
  client().set_policy(command.policy);
  std::string answer;
  append_ok(asked_format_, "POLICY", name(command.policy), answer);
  say(std::move(answer));
}

void LineSession::execute(const ListTopics& command) {
  ask_in_turn(request::Topics{command.pattern});
}

void LineSession::execute(const Ping&) {
  std::string answer;
  append_pong(asked_format_, answer);
  say(std::move(answer));
}

void LineSession::execute(const Help&) {
  say(std::string(help()) + "+OK HELP\n");
}

void LineSession::execute(const Quit&) {
  quitting_ = true;
  ask(request::Quit{});
}

void LineSession::execute(const BadCommand& command) {
  error(command.code, command.text);
}

// ---- answers ----

void LineSession::on_subscribed(std::string_view pattern) {
  --subscribing_;
  client().reply(ok_answer("SUB", pattern));
}

void LineSession::on_refused(std::string_view pattern, std::string_view code, std::string_view text) {
  --subscribing_;
  client().reply(error_answer(code, fmt::format("{}: {}", pattern, text)));
  end_if_done();
}

void LineSession::on_unsubscribed(std::string_view pattern, bool was) {
  if (was) return take_turn(ok_answer("UNSUB", pattern));
  take_turn(error_answer("not_subscribed",
                         fmt::format("wanted a pattern that SUB was given, got \"{}\"", pattern)));
}

void LineSession::on_format(Format format) {
  std::string answer;
  append_ok(Format::text, "FORMAT", name(format), answer);  // in lines also where messages follow
  set_format(format);
  take_turn(answer);
}

void LineSession::on_turn(std::string_view answer) {
  take_turn(answer);
}

void LineSession::on_topics(std::span<const TopicInfo> topics) {
  const std::int64_t now_ns = unix_now_ns();
  std::string answer;
  for (const TopicInfo& topic : topics) append_topic(format(), topic, now_ns, answer);
  client().reply(answer);
}

void LineSession::on_topics_end(std::size_t count, std::string_view code, std::string_view text) {
  take_turn(code.empty() ? ok_answer("TOPICS", fmt::format_int(count).str()) : error_answer(code, text));
}

void LineSession::on_published(std::string_view topic, std::size_t bytes, std::string_view code,
                               std::string_view text) {
  --unpublished_;
  unpublished_bytes_ -= bytes;
  client().reply(code.empty() ? ok_answer("PUB", topic)
                              : error_answer(code, fmt::format("{}: {}", topic, text)));
  hold_or_go_on();
  end_if_done();
}

void LineSession::on_quit() {
  may_end_ = true;
  end_if_done();
}

void LineSession::on_interest(bool any) {
  subscribed_ = any;
  client().excuse_silence(any);
  end_if_done();
}

}  // namespace backplane::gateway::line
