#include "gateway/protocols/http_server/http_session.hpp"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <memory>
#include <utility>
#include <variant>
#include <vector>

#include <fmt/format.h>

#include "core/payload/text.hpp"
#include "core/time/duration.hpp"
#include "gateway/protocols/sse/events_request.hpp"
#include "gateway/protocols/sse/sse_session.hpp"
#include "gateway/protocols/websocket/handshake.hpp"
#include "gateway/protocols/websocket/session.hpp"
#include "gateway/session/notice.hpp"

namespace backplane::gateway::http {
namespace {

using namespace std::chrono_literals;

// How long a connection is kept for the next request.
constexpr auto keep_alive_max = 60s;
// With so much unread, no further request is answered.
constexpr std::size_t unread_bytes_max = 64u << 10;

}  // namespace

HttpSession::HttpSession(fanout::Client& client, const Services& services, Clock::time_point begun_at)
    : Session(client, services, Format::json),
      site_(*services.site),
      reader_(site_.options().limits),
      begun_at_(begun_at) {}

// ---- input ----

void HttpSession::on_bytes(std::string_view bytes) {
  if (begun_at_ == Clock::time_point{}) begun_at_ = client().now();
  reader_.add(bytes);
  go_on();
}

void HttpSession::on_input_end() {
  go_on();
  if (client().open() && !became_ && doing_ == Doing::nothing && !waits_for_room_) client().end({});
}

void HttpSession::go_on() {
  if (became_) return;
  while (client().open() && doing_ == Doing::nothing) {
    if (client().backlog().reply_bytes() > unread_bytes_max) {
      waits_for_room_ = true;
      client().notify_when_drained();
      break;
    }
    const RequestReader::State state = reader_.read();
    if (state == RequestReader::State::bad) return refuse(reader_.fault());
    if (state != RequestReader::State::whole) {
      if (state == RequestReader::State::empty) begun_at_ = {};
      if (reader_.take_continue()) client().reply("HTTP/1.1 100 Continue\r\n\r\n");
      break;
    }
    request_ = reader_.take();
    handle();
    if (became_) return;
  }
  if (!client().open()) return;
  client().pause_input(doing_ != Doing::nothing || waits_for_room_);
  set_time();
}

void HttpSession::set_time() {
  if (doing_ != Doing::nothing || waits_for_room_) return client().cancel_alarm();
  const auto limit = site_.options().request_timeout;
  if (begun_at_ == Clock::time_point{}) return client().set_alarm(client().now() + keep_alive_max);
  if (limit.count() > 0) client().set_alarm(begun_at_ + limit);
}

void HttpSession::on_alarm() {
  if (begun_at_ == Clock::time_point{}) return client().end({});
  refuse({Refusal::timed_out, 408,
          fmt::format("wanted a whole request within {}", format_duration(site_.options().request_timeout))});
}

void HttpSession::on_replies_drained() {
  if (doing_ == Doing::listing) return Session::on_replies_drained();
  if (!std::exchange(waits_for_room_, false)) return;
  client().input_ended() ? on_input_end() : go_on();
}

// ---- answers ----

void HttpSession::handle() {
  Route what = route(request_, site_);
  std::visit([this](auto& each) { execute(each); }, what);
}

void HttpSession::respond(Response response) {
  site_.counters().response(response.status);
  add_cors(request_, site_, response);
  const bool bare = response.status == 204 || response.status == 304;
  std::string out;
  append_head(response, bare ? Framing::none : Framing::length, request_.keep_alive, out);
  if (request_.method != "HEAD") out += response.body;
  client().reply(out);
  done();
}

/// The request under way is answered.
void HttpSession::done() {
  doing_ = Doing::nothing;
  begun_at_ = client().now();  // what is there already of the next one has waited for us
  if (!request_.keep_alive) client().end({});
}

void HttpSession::refuse(const Fault& fault) {
  site_.counters().refused(fault.refusal);
  request_ = {};
  respond(problem(fault.status, name(fault.refusal), fault.detail));
}

void HttpSession::last_words(std::string_view reason) {
  if (doing_ == Doing::nothing || listed_) return client().end({});
  request_.keep_alive = false;
  respond(problem(503, "unavailable", fmt::format("the connection ends: {}", reason)));
}

// ---- POST /v1/topics/… ----

void HttpSession::execute(PublishRoute& route) {
  doing_ = Doing::publishing;
  ask(request::Publish{std::move(route.topic), std::exchange(request_.body, {})});
}

void HttpSession::on_published(std::string_view topic, std::size_t, std::string_view code,
                               std::string_view text) {
  if (code.empty()) {
    std::string body = R"({"topic":)";
    append_json_string(topic, body);
    respond(page("application/json", body + "}\n"));
  } else if (code == "unavailable") {
    Response response = problem(503, code, text);
    response.fields.emplace_back("Retry-After", "2");
    respond(std::move(response));
  } else {
    respond(problem(code == "too_large" ? 413 : 400, code, text));
  }
  go_on();
}

// ---- GET /v1/topics ----

void HttpSession::execute(TopicsRoute& route) {
  if (request_.method == "HEAD") return respond(page("application/json", {}));
  doing_ = Doing::listing;
  ask(request::Topics{std::move(route.pattern)});
}

void HttpSession::begin_list() {
  if (std::exchange(listed_, true)) return;
  site_.counters().response(200);
  Response response = page("application/json", {});
  add_cors(request_, site_, response);
  request_.keep_alive = request_.keep_alive && !request_.http_1_0;
  std::string out;
  append_head(response, request_.http_1_0 ? Framing::until_close : Framing::chunked, request_.keep_alive,
              out);
  client().reply(out);
}

void HttpSession::on_topics(std::span<const TopicInfo> topics) {
  const std::int64_t now_ns = unix_now_ns();
  std::string text = listed_ ? "" : R"({"topics":[)";
  for (const TopicInfo& topic : topics) {
    text += listed_ || &topic != topics.data() ? ",\n" : "\n";
    append_topic_object(topic, now_ns, text);
  }
  begin_list();
  give(text);
}

void HttpSession::give(std::string_view text) {
  std::string out;
  if (request_.http_1_0) return client().reply(text);
  append_chunk(text, out);
  client().reply(out);
}

void HttpSession::on_topics_end(std::size_t, std::string_view code, std::string_view text) {
  if (!code.empty()) {
    // What has begun ends without its end: who reads it knows that it is not whole.
    if (listed_) return client().end({});
    respond(problem(code == "unavailable" ? 503 : 400, code, text));
  } else {
    const bool any = listed_;
    begin_list();
    give(any ? "\n]}\n" : "{\"topics\":[]}\n");
    if (!request_.http_1_0) client().reply(last_chunk);
    done();
  }
  listed_ = false;
  go_on();
}

// ---- what becomes another session ----

void HttpSession::execute(const EventsRoute&) {
  auto asked = sse::read_events_request(request_);
  if (!asked) return respond(problem(400, asked.error().code, asked.error().text));
  Response head = sse::stream_head();
  add_cors(request_, site_, head);
  if (request_.method == "HEAD") {
    site_.counters().response(200);
    std::string out;
    append_head(head, Framing::until_close, false, out);
    return client().end(out);
  }
  became_ = true;
  auto session = std::make_unique<sse::SseSession>(client(), services(), site_.counters(), std::move(head));
  sse::SseSession& events = *session;
  client().switch_handler(std::move(session), {});
  events.begin(*asked);
}

void HttpSession::execute(const SocketRoute&) {
  std::vector<std::pair<std::string_view, std::string_view>> fields(request_.fields.begin(),
                                                                    request_.fields.end());
  const auto answer = websocket::answer_upgrade({.method = request_.method,
                                                 .version = request_.http_1_0 ? 10u : 11u,
                                                 .fields = fields});
  if (!answer) {
    Response response = problem(static_cast<int>(answer.error().status), "bad_upgrade", answer.error().text);
    if (response.status == 426) {
      response.fields.emplace_back("Upgrade", "websocket");
      response.fields.emplace_back("Sec-WebSocket-Version", "13");
    }
    return respond(std::move(response));
  }
  site_.counters().response(101);
  client().reply(*answer);
  became_ = true;
  websocket::WebSocketSession::begin(client(), services(), reader_.rest());
}

}  // namespace backplane::gateway::http
