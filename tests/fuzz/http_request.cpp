// Any bytes from an HTTP client: the first byte determines the pieces, the rest is the stream. Each request
// that is read also gets its route and its token.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/topic/topic.hpp"
#include "core/wire/scan.hpp"
#include "gateway/commands/command.hpp"
#include "gateway/protocols/http/message.hpp"
#include "gateway/protocols/http/request_reader.hpp"
#include "gateway/protocols/http_server/routes.hpp"
#include "tests/fuzz/expect.hpp"

namespace {

using namespace backplane::gateway::http;
using State = RequestReader::State;
namespace fuzz = backplane::fuzz;

constexpr RequestReader::Limits limits{.header_bytes_max = 512, .body_bytes_max = 256};

struct Read {
  std::vector<Request> requests;
  std::optional<int> fault;
  State state{State::empty};  ///< at the end
};

bool same(const Request& a, const Request& b) {
  return a.method == b.method && a.path == b.path && a.query == b.query && a.host == b.host &&
         a.fields == b.fields && a.body == b.body && a.http_1_0 == b.http_1_0 && a.keep_alive == b.keep_alive;
}

/// With smaller pieces a fault may be found later, if no request is accepted before it.
bool same_end(const Read& a, const Read& b) {
  if (a.fault && b.fault) return a.fault == b.fault;
  if (a.fault || b.fault) return (a.fault ? b : a).state == State::reading;
  return a.state == b.state;
}

bool same(const Read& a, const Read& b) {
  return same_end(a, b) && std::equal(a.requests.begin(), a.requests.end(), b.requests.begin(),
                                      b.requests.end(), [](auto& one, auto& two) { return same(one, two); });
}

bool has_line_end(std::string_view text) {
  return text.find_first_of(std::string_view("\r\n\0", 3)) != std::string_view::npos;
}

void check(const Request& request) {
  fuzz::expect(!request.method.empty(), "a request has a method");
  fuzz::expect(request.path.starts_with('/') || request.path == "*", "a path begins with a slash");
  fuzz::expect(request.http_1_0 || request.field("host").data() != nullptr, "HTTP/1.1 has a Host");
  fuzz::expect(request.body.size() <= limits.body_bytes_max, "a body is within its limit");
  fuzz::expect(!has_line_end(request.path) && !has_line_end(request.query), "a target is on one line");
  std::size_t bytes = 0;
  for (const auto& [name, value] : request.fields) {
    fuzz::expect(!name.empty() && name == lower_case(name), "a field's name is in small letters");
    fuzz::expect(!has_line_end(name) && !has_line_end(value), "a field is on one line");
    bytes += name.size() + value.size();
  }
  fuzz::expect(bytes <= limits.header_bytes_max, "a head is within its limit");
}

Read read(std::string_view bytes, std::size_t piece) {
  RequestReader reader(limits);
  Read result;
  for (; !bytes.empty(); bytes.remove_prefix(std::min(piece, bytes.size()))) {
    reader.add(bytes.substr(0, piece));
    State state = reader.read();
    for (; state == State::whole; state = reader.read()) {
      result.requests.push_back(reader.take());
      check(result.requests.back());
    }
    result.state = state;
    if (state != State::bad) continue;
    fuzz::expect(reader.fault().status >= 400 && !reader.fault().detail.empty(), "a refusal says why");
    fuzz::expect(reader.read() == State::bad, "nothing behind a fault is read");
    result.fault = reader.fault().status;
    break;
  }
  return result;
}

/// A body that was accepted is the same body if its length is given: nothing can be smuggled in.
void check_again(const Request& request) {
  std::string plain = request.method +
                      " / HTTP/1.1\r\nHost: x\r\nContent-Length: " + std::to_string(request.body.size()) +
                      "\r\n\r\n" + request.body;
  const Read again = read(plain, plain.size());
  fuzz::expect(!again.fault && again.requests.size() == 1, "a method and a body stand for themselves");
  fuzz::expect(again.requests[0].method == request.method && again.requests[0].body == request.body,
               "a body is what was sent");
}

/// The head of a response ends where its last field ends.
void check_response(const Response& response) {
  std::string head;
  append_head(response, Framing::length, true, head);
  fuzz::expect(response.status >= 200 && response.status < 600, "a response has a status");
  fuzz::expect(head.find("\r\n\r\n") == head.size() - 4,
               "nothing of the request can end the head of the response");
  for (const auto& [name, value] : response.fields) {
    fuzz::expect(!has_line_end(name) && !has_line_end(value), "a field of the response is on one line");
  }
}

void check_route(const Request& request, const Site& site) {
  const auto token = token_of(request);
  fuzz::expect(!token || token->empty() || !backplane::gateway::check_sent_token(*token),
               "a token is printable and of bounded length");
  const Route found = route(request, site);
  if (const auto* response = std::get_if<Response>(&found)) {
    Response with_cors = *response;
    add_cors(request, site, with_cors);
    check_response(with_cors);
  } else if (const auto* publish = std::get_if<PublishRoute>(&found)) {
    fuzz::expect(request.method == "POST" && !backplane::gateway::check_published(publish->topic),
                 "only what may be published is");
    fuzz::expect(backplane::wire::is_utf8(request.body), "a text is UTF-8");
  } else if (const auto* topics = std::get_if<TopicsRoute>(&found)) {
    fuzz::expect(backplane::check_pattern(topics->pattern) == backplane::TopicFault::none,
                 "a pattern is one");
  }
}

const Site& some_site() {
  static const Site site({.limits = limits, .hosts = {"x"}, .cors_origins = {"https://page.example"}},
                         {.metrics = [] { return std::string(); },
                          .why_not_ready = [] { return std::string(); },
                          .status = [](auto) { return std::string("{}"); }});
  return site;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes{reinterpret_cast<const char*>(data) + 1, size - 1};
  const Read whole = read(bytes, std::max<std::size_t>(bytes.size(), 1));
  for (const std::size_t piece : {data[0] % 16u + 1u, 1u}) {
    fuzz::expect(same(whole, read(bytes, piece)), "requests are the same however the bytes come");
  }
  for (const Request& request : whole.requests) {
    check_again(request);
    check_route(request, some_site());
  }
  return 0;
}
