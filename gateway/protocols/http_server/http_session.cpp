#include "gateway/protocols/http_server/http_session.hpp"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <memory>
#include <utility>
#include <variant>
#include <vector>

#include <fmt/format.h>

#include "core/metrics/exposition.hpp"
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

// How long an idle connection is kept for the next request.
constexpr auto keep_alive_max = 60s;
// With more unread responses, no further request is handled.
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
  continue_reading();
}

void HttpSession::on_input_end() {
  continue_reading();
  if (client().open() && !replaced_ && pending_ == Pending::none && !awaits_drain_) client().end({});
}

void HttpSession::continue_reading() {
  if (replaced_) return;
  while (client().open() && pending_ == Pending::none) {
    if (client().backlog().reply_bytes() > unread_bytes_max) {
      awaits_drain_ = true;
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
    request_.encrypted = client().is_encrypted();
    handle();
    if (replaced_) return;
  }
  if (!client().open()) return;
  client().pause_input(pending_ != Pending::none || awaits_drain_);
  set_timeout();
}

void HttpSession::set_timeout() {
  if (pending_ != Pending::none || awaits_drain_) return client().cancel_alarm();
  const auto limit = site_.options().request_timeout;
  if (begun_at_ == Clock::time_point{}) return client().set_alarm(client().now() + keep_alive_max);
  if (limit.count() > 0) client().set_alarm(begun_at_ + limit);
}

void HttpSession::on_alarm() {
  if (begun_at_ == Clock::time_point{}) return client().end({});
  refuse({Refusal::timed_out, 408,
          fmt::format("expected a complete request within {}",
                      format_duration(site_.options().request_timeout))});
}

void HttpSession::on_replies_drained() {
  if (pending_ == Pending::list) return Session::on_replies_drained();
  if (!std::exchange(awaits_drain_, false)) return;
  client().input_ended() ? on_input_end() : continue_reading();
}

// ---- responses ----

void HttpSession::handle() {
  Route what = route(request_, site_);
  if (services().access == nullptr || std::holds_alternative<Response>(what)) return execute_route(what);
  auto token = token_of(request_);
  if (!token) {
    return respond(access_problem(not_authenticated, "expected Authorization: Bearer <name>:<secret>"));
  }
  // Each request has credentials of its own, also on one connection.
  pending_ = Pending::authentication;
  route_ = std::move(what);
  send_request(request::Authenticate{*std::move(token)});
}

void HttpSession::execute_route(Route& route) {
  std::visit([this](auto& each) { execute(each); }, route);
}

void HttpSession::on_authenticated(const Rights& rights, const AccessRefusal& refusal,
                                   std::chrono::seconds retry_after) {
  if (pending_ != Pending::authentication || !client().open()) return;
  pending_ = Pending::none;
  if (refusal.code.empty()) {
    rights_ = rights;
    client().pause_input(false);  // another session may take over
    Route route = std::exchange(route_, Response{});
    execute_route(route);
  } else {
    Response response = access_problem(refusal.code, refusal.text);
    if (retry_after.count() > 0) {
      response.fields.emplace_back("Retry-After", fmt::format_int(retry_after.count()).str());
    }
    respond(std::move(response));
  }
  client().input_ended() && pending_ == Pending::none ? on_input_end() : continue_reading();
}

void HttpSession::respond(Response response) {
  site_.counters().response(response.status);
  add_cors(request_, site_, response);
  const bool bare = response.status == 204 || response.status == 304;
  std::string out;
  append_head(response, bare ? Framing::none : Framing::length, request_.keep_alive, out);
  if (request_.method != "HEAD") out += response.body;
  client().reply(out);
  finish_request();
}

/// The current request has its response.
void HttpSession::finish_request() {
  pending_ = Pending::none;
  begun_at_ = client().now();  // bytes of the next request that are here already had to wait
  if (!request_.keep_alive) client().end({});
}

void HttpSession::refuse(const Fault& fault) {
  site_.counters().refused(fault.refusal);
  request_ = {};
  respond(problem(fault.status, name(fault.refusal), fault.detail));
}

void HttpSession::close_with_reason(std::string_view reason) {
  if (pending_ == Pending::none || list_begun_) return client().end({});
  request_.keep_alive = false;
  respond(problem(503, "unavailable", fmt::format("the connection is closed: {}", reason)));
}

// ---- GET /v1/status, /metrics ----

void HttpSession::execute(const StatusRoute& route) {
  const Rights* const rights = services().access != nullptr ? &rights_ : nullptr;
  if (rights != nullptr) services().access->decision(Action::status, rights->admin);
  if (!route.metrics) return respond(page("application/json", site_.pages().status(rights) + "\n"));
  if (rights != nullptr && !rights->admin) {
    const AccessRefusal refused = refusal(rights->user, rights->anonymous, "read metrics");
    return respond(access_problem(refused.code, refused.text));
  }
  respond(page(metrics::exposition_type, site_.pages().metrics()));
}

// ---- POST /v1/topics/… ----

void HttpSession::execute(PublishRoute& route) {
  pending_ = Pending::publish;
  send_request(request::Publish{std::move(route.topic), std::exchange(request_.body, {})});
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
  } else if (code == not_permitted || code == not_authenticated) {
    respond(access_problem(code, text));
  } else {
    respond(problem(code == "too_large" ? 413 : 400, code, text));
  }
  continue_reading();
}

// ---- GET /v1/topics ----

void HttpSession::execute(TopicsRoute& route) {
  if (request_.method == "HEAD") return respond(page("application/json", {}));
  pending_ = Pending::list;
  send_request(request::Topics{std::move(route.pattern)});
}

void HttpSession::begin_list() {
  if (std::exchange(list_begun_, true)) return;
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
  std::string text = list_begun_ ? "" : R"({"topics":[)";
  for (const TopicInfo& topic : topics) {
    text += list_begun_ || &topic != topics.data() ? ",\n" : "\n";
    append_topic_object(topic, now_ns, text);
  }
  begin_list();
  append_to_list(text);
}

void HttpSession::append_to_list(std::string_view text) {
  std::string out;
  if (request_.http_1_0) return client().reply(text);
  append_chunk(text, out);
  client().reply(out);
}

void HttpSession::on_topics_end(std::size_t, std::string_view code, std::string_view text) {
  if (!code.empty()) {
    // The list ends without its end, which shows the reader that it is incomplete.
    if (list_begun_) return client().end({});
    const bool refused = code == not_permitted || code == not_authenticated;
    respond(refused ? access_problem(code, text) : problem(code == "unavailable" ? 503 : 400, code, text));
  } else {
    const bool any = list_begun_;
    begin_list();
    append_to_list(any ? "\n]}\n" : "{\"topics\":[]}\n");
    if (!request_.http_1_0) client().reply(last_chunk);
    finish_request();
  }
  list_begun_ = false;
  continue_reading();
}

// ---- replaced by another session ----

void HttpSession::execute(const EventsRoute&) {
  auto wanted = sse::read_events_request(request_);
  if (!wanted) return respond(problem(400, wanted.error().code, wanted.error().text));
  Response head = sse::stream_head();
  add_cors(request_, site_, head);
  if (request_.method == "HEAD") {
    site_.counters().response(200);
    std::string out;
    append_head(head, Framing::until_close, false, out);
    return client().end(out);
  }
  if (rights_.view) {
    // A request with a forbidden pattern is refused as a whole, before the stream begins with the others.
    const auto forbidden = std::find_if(
        wanted->subscribes.begin(), wanted->subscribes.end(),
        [&](const auto& each) { return rights_.view->visibility(each.pattern) == policy::Visibility::none; });
    if (forbidden != wanted->subscribes.end()) wanted->subscribes = {*forbidden};
  }
  replaced_ = true;
  auto session = std::make_unique<sse::SseSession>(client(), services(), site_.counters(), std::move(head));
  sse::SseSession& events = *session;
  client().switch_handler(std::move(session), {});
  events.begin(wanted->subscribes, sse::ignored_text(*wanted));
}

void HttpSession::execute(const SocketRoute&) {
  std::vector<std::pair<std::string_view, std::string_view>> fields(request_.fields.begin(),
                                                                    request_.fields.end());
  const auto answer = websocket::answer_upgrade(
      {.method = request_.method, .version = request_.http_1_0 ? 10u : 11u, .fields = fields});
  if (!answer) {
    Response response = problem(static_cast<int>(answer.error().status), "bad_upgrade", answer.error().text);
    if (response.status == 426) {
      response.fields.emplace_back("Upgrade", "websocket");
      response.fields.emplace_back("Sec-WebSocket-Version", "13");
    }
    return respond(std::move(response));
  }
  const auto wanted = sse::read_socket_request(request_);
  if (!wanted) return respond(problem(400, wanted.error().code, wanted.error().text));
  site_.counters().response(101);
  client().reply(*answer);
  replaced_ = true;
  websocket::WebSocketSession::begin(client(), services(), reader_.rest(), wanted->subscribes,
                                     sse::ignored_text(*wanted));
}

}  // namespace backplane::gateway::http
