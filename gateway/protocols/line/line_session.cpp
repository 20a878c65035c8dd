#include "gateway/protocols/line/line_session.hpp"

#include <fmt/format.h>

#include "gateway/commands/line_grammar.hpp"
#include "gateway/protocols/proto/client_message.hpp"
#include "gateway/session/first_line.hpp"

namespace backplane::gateway::line {
namespace {

// A ClientMessage has a topic and a few bytes per field besides the text that it publishes.
constexpr std::size_t message_bytes_extra = 512;

}  // namespace

LineSession::LineSession(fanout::Client& client, const Services& services)
    : CommandSession(client, services, Format::text), lines_(services.limits) {}

// ---- input ----

void LineSession::on_bytes(std::string_view bytes) {
  if (messages_) {
    bytes = lines_.rest_of_line_end(bytes);
  } else {
    bytes =
        lines_.read(bytes, [this](std::string_view line, bool too_long) { return on_line(line, too_long); });
    if (const std::string replies = lines_.take_telnet_replies(); !replies.empty()) client().reply(replies);
  }
  if (messages_ && !bytes.empty()) on_messages(bytes);
}

void LineSession::on_messages(std::string_view bytes) {
  const auto fault = messages_->read(bytes, [this](std::string_view message) {
    if (!done()) run(proto::parse_message(message));
    return !done();
  });
  if (fault == proto::MessageReader::Fault::none || !client().open()) return;
  const bool too_long = fault == proto::MessageReader::Fault::too_long;
  error(too_long ? "message_too_long" : "malformed",
        too_long ? fmt::format("expected a message of at most {} bytes",
                               services().limits.publish_bytes_max + message_bytes_extra)
                 : "expected a message after its length, a varint of at most 5 bytes");
  say_goodbye(too_long ? "message_too_long" : "malformed");
}

void LineSession::on_input_end() {
  if (!messages_) {
    lines_.finish([this](std::string_view line, bool too_long) {
      // A client that died while sending has left part of an event, which must not be published.
      if (is_publish(line)) {
        error("half_line",
              "expected a line that ends in LF or CR, got the end of input: nothing was published");
        return false;
      }
      return on_line(line, too_long);
    });
  } else if (!messages_->at_boundary()) {
    error("half_message", "expected a whole message, got the end of input");
  }
  end_if_done();
  watch_half_closed();
}

bool LineSession::on_line(std::string_view line, bool too_long) {
  if (done()) return false;
  if (too_long) {
    error("line_too_long",
          fmt::format("expected at most {} bytes, or {} for a PUB; the rest of the line is skipped",
                      services().limits.line_bytes_max, services().limits.publish_bytes_max));
    return true;
  }
  const Command command = parse_line(line);
  if (std::holds_alternative<BadCommand>(command) && protocol_of(line) == Protocol::http) {
    // A proxy may send a line of its own before a browser's request, whose text must not be taken for
    // commands.
    error("not_http", "expected a command of the line protocol (see HELP), got an HTTP request");
    say_goodbye("not_http");
    return false;
  }
  run(command);
  return !done() && !messages_;
}

void LineSession::execute(const SetFormat& command) {
  request_format(command.format);
  if (command.format != Format::proto) return;
  const std::size_t message_bytes_max = services().limits.publish_bytes_max + message_bytes_extra;
  messages_ = std::make_unique<proto::MessageReader>(message_bytes_max);
}

}  // namespace backplane::gateway::line
