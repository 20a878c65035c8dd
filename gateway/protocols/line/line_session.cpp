#include "gateway/protocols/line/line_session.hpp"

#include <iterator>
#include <utility>
#include <variant>

#include <fmt/format.h>

namespace backplane::gateway::line {
namespace {

// Beyond so much that waits for the broker, no more is read from a client.
constexpr std::size_t unpublished_max = 1024;
constexpr std::size_t unpublished_bytes_max = 1u << 20;
// A session that cannot be told of its losses, over so many topics, is ended with the reason.
constexpr std::size_t loss_ranges_max = 100'000;

bool is_http(std::string_view line) {
  return line.ends_with(" HTTP/1.0") || line.ends_with(" HTTP/1.1");
}

}  // namespace

LineSession::LineSession(fanout::Session& session, Services services)
    : session_(session), services_(services), reader_(services.hub.add(*this)), lines_(services.limits) {}

LineSession::~LineSession() {
  services_.desk.forget(*this);
  services_.hub.remove(reader_);
}

void LineSession::say_goodbye(std::string_view reason) {
  scratch_.clear();
  append_session_line(format_, "BYE", reason, scratch_);
  session_.end(scratch_);
}

void LineSession::on_bytes(std::string_view bytes) {
  lines_.feed(bytes, [this](std::string_view line, bool too_long) { return on_line(line, too_long); });
}

void LineSession::on_input_end() {
  lines_.finish([this](std::string_view line, bool too_long) {
    // Who died while sending has a half event here, which is nobody's.
    if (line.starts_with("PUB ")) {
      error("half_line", "wanted a line that ends in LF, got the end of input: nothing was published");
      return false;
    }
    return on_line(line, too_long);
  });
  end_if_done();
}

/// Half-closing is not leaving, but who neither sends nor waits for anything is done.
void LineSession::end_if_done() {
  if (!session_.open() || unpublished_ > 0) return;
  if (quitting_) {
    session_.end("+OK QUIT\n");
  } else if (session_.input_ended() && Hub::subscriptions(reader_) == 0) {
    session_.end({});
  }
}

bool LineSession::on_line(std::string_view line, bool too_long) {
  if (!session_.open() || quitting_) return false;
  // A browser can be made to send a page's text here: what comes behind an HTTP request is not obeyed.
  if (std::exchange(first_line_, false) && is_http(line)) {
    error("not_http", "this port speaks the line protocol: wanted a command, see HELP; got an HTTP request");
    say_goodbye("not_http");
    return false;
  }
  if (too_long) {
    error("line_too_long",
          fmt::format("wanted at most {} bytes, and {} where the line is a PUB; the rest of it is skipped",
                      services_.limits.line_bytes_max, services_.limits.publish_bytes_max));
  } else {
    std::visit([this](const auto& command) { execute(command); }, parse_command(line));
  }
  return session_.open() && !quitting_;
}

void LineSession::ok(std::string_view verb, std::string_view what) {
  scratch_.clear();
  fmt::format_to(std::back_inserter(scratch_), "+OK {} {}\n", verb, what);
  session_.reply(scratch_);
}

void LineSession::error(std::string_view code, std::string_view text) {
  scratch_.clear();
  fmt::format_to(std::back_inserter(scratch_), "-ERR {} {}\n", code, text);
  session_.reply(scratch_);
}

void LineSession::execute(const Subscribe& command) {
  services_.hub.subscribe(reader_, command.pattern, command.last, Hub::Clock::now());
}

void LineSession::execute(const Unsubscribe& command) {
  if (services_.hub.unsubscribe(reader_, command.pattern)) return ok("UNSUB", command.pattern);
  error("not_subscribed", fmt::format("wanted a pattern that SUB was given, got \"{}\"", command.pattern));
}

void LineSession::execute(const Publish& command) {
  ++unpublished_;
  unpublished_bytes_ += command.text.size();
  services_.desk.publish(*this, command.topic, command.text, PublishDesk::Clock::now());
  if (unpublished_ > unpublished_max || unpublished_bytes_ > unpublished_bytes_max) session_.hold_input(true);
}

void LineSession::execute(const SetFormat& command) {
  format_ = command.format;
  ok("FORMAT", name(command.format));
}

void LineSession::execute(const SetPolicy& command) {
  session_.set_overflow(command.overflow);
  ok("POLICY", command.overflow == fanout::Overflow::disconnect ? "disconnect" : "gap");
}

void LineSession::execute(const Ping&) {
  session_.reply("+PONG\n");
}

void LineSession::execute(const Help&) {
  session_.reply(help());
  session_.reply("+OK HELP\n");
}

void LineSession::execute(const Quit&) {
  services_.hub.cancel_waiting(reader_, "QUIT came before it was in force");
  quitting_ = true;
  end_if_done();
}

void LineSession::execute(const BadCommand& command) {
  error(command.code, command.text);
}

void LineSession::on_published(std::string_view topic, std::size_t bytes, std::string_view code,
                               std::string_view text) {
  --unpublished_;
  unpublished_bytes_ -= bytes;
  if (code.empty()) {
    ok("PUB", topic);
  } else {
    error(code, fmt::format("{}: {}", topic, text));
  }
  if (unpublished_ <= unpublished_max / 2 && unpublished_bytes_ <= unpublished_bytes_max / 2)
    session_.hold_input(false);
  end_if_done();
}

void LineSession::on_notice(const Notice& notice) {
  scratch_.clear();
  append_notice(format_, notice, scratch_);
  session_.reply(scratch_);
}

void LineSession::on_subscribed(std::string_view pattern) {
  ok("SUB", pattern);
}

void LineSession::on_refused(std::string_view pattern, std::string_view code, std::string_view text) {
  error(code, fmt::format("{}: {}", pattern, text));
  end_if_done();
}

void LineSession::on_broker(bool up) {
  scratch_.clear();
  append_session_line(format_, up ? "LIVE" : "WAIT", "broker", scratch_);
  session_.reply(scratch_);
}

void LineSession::on_dropped(const fanout::Message& message) {
  // Events are all that a session sends, and all of them are this gateway's.
  losses_.add(static_cast<const EventLine&>(message));
  if (losses_.ranges() > loss_ranges_max) say_goodbye("slow_consumer");
}

void LineSession::report_losses(std::string& out) {
  losses_.report(format_, out);
}

}  // namespace backplane::gateway::line
