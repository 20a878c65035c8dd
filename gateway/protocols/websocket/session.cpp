#include "gateway/protocols/websocket/session.hpp"

#include <chrono>
#include <memory>
#include <string>
#include <utility>

#include "gateway/commands/line_grammar.hpp"
#include "gateway/session/notice.hpp"

namespace backplane::gateway::websocket {
namespace {

// Shorter than the idle timeouts of proxies and routers.
constexpr std::chrono::seconds ping_after{30};

/// The close code for `!BYE reason`.
CloseCode code_of(std::string_view reason) noexcept {
  if (reason == "slow_consumer") return CloseCode::try_later;
  if (reason == "too_many_commands" || reason == "revoked") return CloseCode::policy;
  return CloseCode::going_away;
}

/// Without the line end that some clients send.
std::string_view without_end(std::string_view line) noexcept {
  if (line.ends_with('\n')) line.remove_suffix(1);
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

}  // namespace

void WebSocketSession::begin(fanout::Client& client, const Services& services, std::string_view rest,
                             const std::vector<Subscribe>& subscribes, std::string_view ignored) {
  services.websockets.count_begun();
  auto session = std::make_unique<WebSocketSession>(client, services);
  WebSocketSession& socket = *session;
  client.switch_handler(std::move(session), rest);
  client.set_alarm(client.now() + ping_after);
  if (!ignored.empty()) socket.error("bad_option", ignored);
  for (const Subscribe& each : subscribes) socket.run(each);
}

WebSocketSession::WebSocketSession(fanout::Client& client, const Services& services)
    : CommandSession(client, services, Format::websocket), frames_(services.limits) {
  send_request(request::SetFormat{Format::websocket});
}

void WebSocketSession::on_bytes(std::string_view bytes) {
  pinged_ = false;
  const auto fault = frames_.read(
      bytes, [this](Opcode what, std::string_view payload) { return on_message(what, payload); });
  if (!fault || !client().open()) return;
  services().websockets.count_fault(fault->code);
  close(fault->code, fault->text);
}

bool WebSocketSession::on_message(Opcode what, std::string_view payload) {
  switch (what) {
    case Opcode::text:
      on_text(without_end(payload));
      break;
    case Opcode::ping: {
      std::string reply;
      append_frame(Opcode::pong, payload, reply);
      client().reply(reply);
      break;
    }
    case Opcode::close: {
      // The code is echoed; the reason is not.
      std::string reply;
      append_frame(Opcode::close, payload.substr(0, sizeof(CloseCode)), reply);
      client().end(reply);
      break;
    }
    default:
      break;  // a pong needs no action: its arrival is what counts
  }
  return !done();
}

/// Every message has a reply. An empty line of the line protocol, which a person types, has none.
void WebSocketSession::on_text(std::string_view line) {
  const bool empty = line.find_first_not_of(' ') == std::string_view::npos;
  if (empty) return error("bad_argument", "expected a command, got an empty message");
  run(parse_line(line));
}

/// A half-closed socket without a close frame is a lost connection.
void WebSocketSession::on_input_end() {
  client().end({});
}

void WebSocketSession::on_alarm() {
  const auto due = client().active_at() + ping_after;
  if (client().now() < due) return client().set_alarm(due);
  client().set_alarm(client().now() + ping_after);
  // A client that has not replied to the last ping gets no other one.
  if (std::exchange(pinged_, true)) return;
  std::string ping;
  append_frame(Opcode::ping, {}, ping);
  client().reply(ping);
}

void WebSocketSession::close_with_reason(std::string_view reason) {
  std::string bye;
  append_session_line(format(), "BYE", reason, bye);
  close(code_of(reason), reason, bye);
}

void WebSocketSession::execute(const SetFormat&) {
  error("bad_format", "expected no FORMAT, as the format is always json over WebSocket");
}

void WebSocketSession::end_after_quit(std::string_view reply) {
  close(CloseCode::normal, {}, reply);
}

void WebSocketSession::close(CloseCode code, std::string_view reason, std::string_view before) {
  std::string last(before);
  append_close(code, reason, last);
  client().end(last);
}

}  // namespace backplane::gateway::websocket
