#include "gateway/protocols/detection/first_line_session.hpp"

#include <memory>
#include <utility>

#include "gateway/commands/line_grammar.hpp"
#include "gateway/protocols/http_server/http_session.hpp"
#include "gateway/protocols/line/line_session.hpp"
#include "gateway/protocols/mqtt/mqtt_session.hpp"
#include "gateway/protocols/zmtp/zmtp_session.hpp"
#include "gateway/session/notice.hpp"

namespace backplane::gateway {

void FirstLineSession::on_bytes(std::string_view bytes) {
  bytes = without_empty_lines(bytes);
  if (bytes.empty()) return;
  if (begun_.empty()) begin();
  const std::size_t searched = begun_.size();
  if (searched > 0) {
    begun_ += bytes;
    bytes = begun_;
  }
  if (mqtt::begins_as_mqtt(bytes)) return mqtt::MqttSession::begin(client(), services(), bytes);
  // A telnet client may wait for answers before it sends its first line.
  if (begins_as_telnet(bytes)) return become(Protocol::line, bytes);
  if (services().zmtp != nullptr && begins_as_zmtp(bytes)) {
    identify(client().peer_certificate_name());
    return ZmtpSession::begin(client(), services(), bytes);
  }
  // A port with TLS does not give these bytes to a session. Without an answer, the client would wait.
  if (begins_as_tls(bytes)) return refuse("no_tls", "this port does not use TLS: connect without it");
  const std::size_t end = bytes.find_first_of("\r\n", searched);
  if (end == std::string_view::npos) {
    const auto& limits = services().limits;
    const std::size_t most = is_publish(bytes) ? limits.publish_bytes_max : limits.line_bytes_max;
    if (bytes.size() > most) return become(begins_as_http(bytes) ? Protocol::http : Protocol::line, bytes);
    if (searched == 0) begun_ = bytes;
    return;
  }
  become(protocol_of(bytes.substr(0, end)), bytes);
}

/// An empty line before the first one gets no reply, and some HTTP clients send one.
std::string_view FirstLineSession::without_empty_lines(std::string_view bytes) {
  if (!begun_.empty()) return bytes;
  while (!bytes.empty()) {
    const char c = bytes.front();
    if (c != '\r' && c != '\n' && !(c == '\0' && after_cr_)) break;
    after_cr_ = c == '\r';
    bytes.remove_prefix(1);
  }
  return bytes;
}

void FirstLineSession::on_input_end() {
  become(begins_as_http(begun_) ? Protocol::http : Protocol::line, begun_);
}

void FirstLineSession::begin() {
  begun_at_ = client().now();
  if (services().site == nullptr) return;
  const auto limit = services().site->options().request_timeout;
  if (limit.count() > 0) client().set_alarm(begun_at_ + limit);
}

/// A command may take any time to type. The timeout of an HTTP request runs from its first byte.
void FirstLineSession::on_alarm() {
  if (begins_as_http(begun_)) become(Protocol::http, begun_);
}

void FirstLineSession::become(Protocol protocol, std::string_view bytes) {
  identify(client().peer_certificate_name());
  if (protocol == Protocol::line) {
    return client().switch_handler(std::make_unique<line::LineSession>(client(), services()), bytes);
  }
  if (services().site != nullptr) {
    return client().switch_handler(std::make_unique<http::HttpSession>(client(), services(), begun_at_),
                                   bytes);
  }
  // A page can make a browser send its text here: nothing after an HTTP request is taken for a command.
  refuse("not_http", "expected a command of the line protocol (see HELP), got an HTTP request");
}

void FirstLineSession::refuse(std::string_view code, std::string_view text) {
  std::string bye;
  append_error(Format::text, code, text, bye);
  append_session_line(Format::text, "BYE", code, bye);
  services().sessions.goodbye(code);
  client().end(bye);
}

}  // namespace backplane::gateway
