#include "gateway/protocols/websocket/session.hpp"

#include <chrono>
#include <memory>
#include <string>
#include <utility>

#include "gateway/commands/line_grammar.hpp"
#include "gateway/session/notice.hpp"

namespace backplane::gateway::websocket {
namespace {

// Shorter than what proxies and routers take for the end of a connection.
constexpr std::chrono::seconds ping_after{30};

/// What goes with `!BYE reason`.
CloseCode code_of(std::string_view reason) noexcept {
  if (reason == "slow_consumer") return CloseCode::try_later;
  if (reason == "too_many_commands") return CloseCode::policy;
  return CloseCode::going_away;
}

/// Without the end of line that some send.
std::string_view without_end(std::string_view line) noexcept {
  if (line.ends_with('\n')) line.remove_suffix(1);
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

}  // namespace

void WebSocketSession::begin(fanout::Client& client, const Services& services, std::string_view rest) {
  services.websockets.count_begun();
  client.switch_handler(std::make_unique<WebSocketSession>(client, services), rest);
  client.set_alarm(client.now() + ping_after);
}

WebSocketSession::WebSocketSession(fanout::Client& client, const Services& services)
    : CommandSession(client, services, Format::websocket), frames_(services.limits) {
  ask(request::SetFormat{Format::websocket});
}

void WebSocketSession::on_bytes(std::string_view bytes) {
  pinged_ = false;
  const auto fault = frames_.feed(
      bytes, [this](Opcode what, std::string_view payload) { return on_message(what, payload); });
  if (!fault || !client().open()) return;
  services().websockets.count_fault(fault->code);
  close(fault->code, fault->text);
}

bool WebSocketSession::on_message(Opcode what, std::string_view payload) {
  switch (what) {
    case Opcode::text:
      obey(parse_line(without_end(payload)));
      break;
    case Opcode::ping: {
      std::string answer;
      append_frame(Opcode::pong, payload, answer);
      client().reply(answer);
      break;
    }
    case Opcode::close: {
      // Its code is sent back, and what it said of itself is not.
      std::string answer;
      append_frame(Opcode::close, payload.substr(0, sizeof(CloseCode)), answer);
      client().end(answer);
      break;
    }
    default:
      break;  // a pong has done what it is for by coming
  }
  return !done();
}

/// A socket that is half closed without a close frame is one that was lost.
void WebSocketSession::on_input_end() {
  client().end({});
}

void WebSocketSession::on_alarm() {
  const auto due = client().active_at() + ping_after;
  if (client().now() < due) return client().set_alarm(due);
  client().set_alarm(client().now() + ping_after);
  // Who has not answered the last one, or reads nothing, needs no second.
  if (std::exchange(pinged_, true)) return;
  std::string ping;
  append_frame(Opcode::ping, {}, ping);
  client().reply(ping);
}

void WebSocketSession::last_words(std::string_view reason) {
  std::string bye;
  append_session_line(format(), "BYE", reason, bye);
  close(code_of(reason), reason, bye);
}

void WebSocketSession::execute(const SetFormat&) {
  error("bad_format", "over WebSocket everything is json: wanted no FORMAT");
}

void WebSocketSession::end_as_asked(std::string_view answer) {
  close(CloseCode::normal, {}, answer);
}

void WebSocketSession::close(CloseCode code, std::string_view reason, std::string_view before) {
  std::string words(before);
  append_close(code, reason, words);
  client().end(words);
}

}  // namespace backplane::gateway::websocket
