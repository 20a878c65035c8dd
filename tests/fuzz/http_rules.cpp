// Any bytes as the parts of an HTTP request that are read after its head, one per line: the query,
// Last-Event-ID, Host, Origin, then fields of a WebSocket handshake.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/topic/topic.hpp"
#include "core/wire/scan.hpp"
#include "gateway/protocols/http/uri.hpp"
#include "gateway/protocols/http_server/site.hpp"
#include "gateway/protocols/sse/events_request.hpp"
#include "gateway/protocols/websocket/handshake.hpp"
#include "tests/fuzz/expect.hpp"

namespace {

using namespace backplane;
using namespace backplane::gateway;

std::string_view next_line(std::string_view& rest) {
  const std::string_view line = rest.substr(0, rest.find('\n'));
  rest.remove_prefix(std::min(line.size() + 1, rest.size()));
  return line;
}

bool is_line(std::string_view text) {
  const bool plain = std::none_of(text.begin(), text.end(),
                                  [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
  return plain && wire::is_utf8(text);
}

void check_query(std::string_view query) {
  const auto parameters = http::parse_query(query);
  if (!parameters) return;
  std::size_t bytes = 0;
  for (const auto& [name, value] : *parameters) bytes += name.size() + value.size();
  fuzz::expect(bytes <= query.size(), "decoding adds nothing");
}

void check_events(const tl::expected<sse::EventsRequest, BadCommand>& read) {
  if (!read) {
    fuzz::expect(!read.error().code.empty() && is_line(read.error().text),
                 "an error is one line that a terminal can show");
    return;
  }
  for (const Subscribe& each : read->subscribes) {
    fuzz::expect(check_pattern(each.pattern.str()) == TopicFault::none, "a pattern is one");
    fuzz::expect(each.every.count() == 0 || (each.every >= every_min && each.every <= every_max),
                 "every has its limits");
  }
  fuzz::expect(is_line(sse::ignored_text(*read)), "what was ignored is one line");
}

void check_site(std::string_view host, std::string_view origin) {
  static const http::Site site = [] {
    return http::Site({.limits = {}, .hosts = {"broker.example"}, .cors_origins = {"https://page.example"}},
                      {});
  }();
  const bool is_ours = site.is_host(host);
  if (is_ours) {
    std::string name = http::lower_case(host.substr(0, host.find(':')));
    if (name.ends_with('.')) name.pop_back();
    const bool is_loopback =
        name.starts_with("127.") && name.find_first_not_of("0123456789.") == std::string::npos;
    fuzz::expect(host.starts_with('[') || is_loopback || name == "localhost" ||
                     name.ends_with(".localhost") || name == "broker.example",
                 "no other names are ours");
  }
  for (const bool encrypted : {false, true}) {
    if (!site.may_use(origin, host, encrypted)) continue;
    const std::string own = http::lower_case(origin);
    const bool is_same = own == "https://" + http::lower_case(host) ||
                         (!encrypted && own == "http://" + http::lower_case(host));
    fuzz::expect(is_same || origin == "https://page.example", "a page of another origin is refused");
  }
}

void check_handshake(std::string_view rest) {
  std::vector<std::pair<std::string_view, std::string_view>> fields{{"Host", "localhost"}};
  while (!rest.empty()) {
    const std::string_view line = next_line(rest);
    const std::size_t colon = std::min(line.find(':'), line.size());
    fields.emplace_back(line.substr(0, colon), line.substr(std::min(colon + 1, line.size())));
  }
  const auto reply = websocket::answer_upgrade({.method = "GET", .fields = fields});
  if (!reply) {
    fuzz::expect(reply.error().status == 400 || reply.error().status == 426, "a refusal has a status");
    return;
  }
  fuzz::expect(reply->starts_with("HTTP/1.1 101 ") && reply->ends_with("\r\n\r\n") &&
                   reply->find("\r\n\r\n") == reply->size() - 4,
               "nothing of the request can end the head of the response");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view rest{reinterpret_cast<const char*>(data), size};
  http::Request request;
  request.method = "GET";
  request.path = "/v1/events";
  request.query = next_line(rest);
  if (const std::string_view token = next_line(rest); !token.empty()) {
    request.fields.emplace_back("last-event-id", token);
  }
  check_query(request.query);
  check_events(sse::read_events_request(request));
  check_events(sse::read_socket_request(request));
  const std::string_view host = next_line(rest);
  check_site(host, next_line(rest));
  check_handshake(rest);
  return 0;
}
