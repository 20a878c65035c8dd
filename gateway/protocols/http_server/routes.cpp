#include "gateway/protocols/http_server/routes.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

#include "core/wire/scan.hpp"
#include "gateway/commands/command.hpp"
#include "gateway/protocols/http/uri.hpp"
#include "gateway/web/assets.hpp"

namespace backplane::gateway::http {
namespace {

constexpr std::string_view topics_path = "/v1/topics/";
constexpr std::string_view reads = "GET, HEAD, OPTIONS";
constexpr std::string_view publishes = "POST, OPTIONS";
constexpr std::string_view opens = "GET, OPTIONS";

constexpr std::array<std::string_view, 7> reads_paths = {
    "/healthz", "/readyz", "/metrics", "/v1/status", "/v1/topics", "/v1/events", "/v1/socket"};
constexpr std::array<std::string_view, 8> methods = {"GET",     "HEAD",  "POST",  "PUT",
                                                     "OPTIONS", "PATCH", "TRACE", "DELETE"};

/// The methods of a path, for Allow; empty if there is no such path.
std::string_view allowed(std::string_view path) {
  if (path == "*") return "GET, HEAD, POST, OPTIONS";
  if (path.starts_with(topics_path)) return publishes;
  if (path == "/v1/socket") return opens;
  const bool known = std::find(reads_paths.begin(), reads_paths.end(), path) != reads_paths.end();
  return known || web::find_asset(path) != nullptr ? reads : std::string_view{};
}

Response with(Response response, std::string name, std::string_view value) {
  response.fields.emplace_back(std::move(name), value);
  return response;
}

/// Whether a list such as `gzip;q=1.0, br` contains `token` with a weight above 0.
bool accepts(std::string_view list, std::string_view token) {
  while (!list.empty()) {
    std::string_view part = list.substr(0, list.find(','));
    list.remove_prefix(std::min(part.size() + 1, list.size()));
    part.remove_prefix(std::min(part.find_first_not_of(" \t"), part.size()));
    const std::string_view name = part.substr(0, part.find_first_of("; \t"));
    const bool none = part.find("q=0") != std::string_view::npos &&
                      part.find_first_of("123456789", part.find("q=0")) == std::string_view::npos;
    if (name == token) return !none;
  }
  return false;
}

bool has_tag(std::string_view list, std::string_view etag) {
  return list == "*" || list.find(etag) != std::string_view::npos;
}

Response asset_page(const Request& request, const web::Asset& asset) {
  const bool gzip = !asset.gzip.empty() && accepts(request.field("accept-encoding"), "gzip");
  // Each encoding has its own tag.
  const std::string etag =
      gzip ? fmt::format("{}-gzip\"", asset.etag.substr(0, asset.etag.size() - 1)) : std::string(asset.etag);
  const bool known = has_tag(request.field("if-none-match"), etag);
  Response response{
      known ? 304 : 200, {{"ETag", etag}, {"Cache-Control", "no-cache"}, {"Vary", "Accept-Encoding"}}, {}};
  if (known) return response;
  response.fields.emplace_back("Content-Type", asset.content_type);
  response.fields.emplace_back("X-Content-Type-Options", "nosniff");
  response.fields.emplace_back("Referrer-Policy", "no-referrer");
  response.fields.emplace_back(
      "Content-Security-Policy",
      "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'");
  if (gzip) response.fields.emplace_back("Content-Encoding", "gzip");
  response.body = gzip ? asset.gzip : asset.body;
  return response;
}

Response health_page(std::string_view path, const Site& site) {
  const SitePages& pages = site.pages();
  if (path == "/healthz") return text_page(200, "ok");
  const std::string reason = pages.why_not_ready();
  const std::string note = pages.ready_note.empty() ? "" : '\n' + pages.ready_note;
  return reason.empty() ? text_page(200, "ready" + note) : text_page(503, reason + note);
}

Route topics_route(const Request& request) {
  const auto parameters = parse_query(request.query);
  if (!parameters) return problem(400, "bad_argument", "expected a query with escapes of the form %xx");
  TopicsRoute route{">"};
  for (const auto& [name, value] : *parameters) {
    if (name == token_parameter) continue;
    if (name != "pattern") return problem(400, "bad_option", "expected ?pattern=, got " + shown(name));
    route.pattern = value;
  }
  if (auto bad = check_pattern_text(route.pattern)) return problem(400, bad->code, bad->text);
  return route;
}

/// Refuses a body that is declared to be anything but text in UTF-8.
std::optional<Response> unsupported_media(const Request& request) {
  if (const auto coding = request.field("content-encoding"); !coding.empty() && coding != "identity") {
    return problem(415, "bad_argument", "expected a body without Content-Encoding, got " + shown(coding));
  }
  const std::string type = lower_case(request.field("content-type"));
  const std::size_t charset = type.find("charset=");
  const bool other_charset = charset != std::string::npos &&
                             type.find("utf-8", charset) == std::string::npos &&
                             type.find("us-ascii", charset) == std::string::npos;
  if (!type.starts_with("multipart/") && !other_charset) return std::nullopt;
  return problem(415, "bad_argument", "expected a body that is plain text in UTF-8, got " + shown(type));
}

Route publish_route(const Request& request) {
  auto topic = percent_decode(std::string_view(request.path).substr(topics_path.size()), false);
  if (!topic) return problem(400, "bad_topic", "expected a topic with escapes of the form %xx");
  if (auto bad = check_published(*topic)) return problem(400, bad->code, bad->text);
  if (auto unsupported = unsupported_media(request)) return *std::move(unsupported);
  if (!wire::is_utf8(request.body))
    return problem(400, "not_utf8", "expected a body in UTF-8, got other bytes");
  return PublishRoute{*std::move(topic)};
}

/// Pages that monitoring requests, under the name of a service or an address inside a cluster. They change
/// nothing, and no page can read them from another origin.
bool is_for_monitoring(std::string_view path) {
  return path == "/metrics" || path == "/healthz" || path == "/readyz";
}

/// Refuses a request that is addressed to another host, or sent by a page of another origin.
std::optional<Response> refused(const Request& request, const Site& site) {
  const bool has_no_host = request.host.empty() && request.http_1_0;
  const bool any_host = request.field("origin").empty() && is_for_monitoring(request.path);
  if (!has_no_host && !any_host && !site.is_host(request.host)) {
    site.counters().refused(Refusal::host);
    return problem(403, "host",
                   fmt::format("expected a Host of this gateway, got {}; [gateway].hosts adds names",
                               shown(request.host)));
  }
  const std::string_view origin = request.field("origin");
  if (origin.empty() || site.may_use(origin, request.host, request.encrypted)) return std::nullopt;
  site.counters().refused(Refusal::origin);
  return problem(
      403, "origin",
      fmt::format("expected an allowed origin, got {}; [gateway].cors_origins adds origins", shown(origin)));
}

Response options(const Request& request, const Site& site, std::string_view allow) {
  Response response{204, {{"Allow", std::string(allow)}}, {}};
  if (!site.is_cors_origin(request.field("origin"))) return response;
  response.fields.emplace_back("Access-Control-Allow-Methods", allow);
  response.fields.emplace_back("Access-Control-Allow-Headers", "Authorization, Content-Type, Last-Event-ID");
  response.fields.emplace_back("Access-Control-Max-Age", "600");
  return response;
}

}  // namespace

void add_cors(const Request& request, const Site& site, Response& response) {
  if (!site.options().cors_origins.empty()) response.fields.emplace_back("Vary", "Origin");
  const std::string_view origin = request.field("origin");
  if (!origin.empty() && site.is_cors_origin(origin)) {
    response.fields.emplace_back("Access-Control-Allow-Origin", origin);
  }
}

std::optional<std::string> token_of(const Request& request) {
  constexpr std::string_view scheme = "bearer ";
  std::string token;
  if (std::string_view field = request.field("authorization"); !field.empty()) {
    if (lower_case(field.substr(0, scheme.size())) != scheme) return std::nullopt;
    field.remove_prefix(scheme.size());
    field.remove_prefix(std::min(field.find_first_not_of(' '), field.size()));
    token = field;
  } else if (const auto parameters = parse_query(request.query)) {
    const auto given = std::find_if(parameters->begin(), parameters->end(),
                                    [](const auto& each) { return each.first == token_parameter; });
    if (given == parameters->end()) return token;
    token = given->second;
  } else {
    return token;
  }
  if (check_sent_token(token)) return std::nullopt;
  return token;
}

Route route(const Request& request, const Site& site) {
  if (auto response = refused(request, site)) return *std::move(response);
  if (std::find(methods.begin(), methods.end(), request.method) == methods.end()) {
    return problem(501, "bad_method", "expected GET, HEAD, POST or OPTIONS, got " + shown(request.method));
  }
  const std::string_view path = request.path;
  const std::string_view allow = allowed(path);
  if (allow.empty()) return problem(404, "not_found", "expected a known path, got " + shown(path));
  if (request.method == "OPTIONS") return options(request, site, allow);
  if (allow.find(request.method) == std::string_view::npos) {
    return with(problem(405, "bad_method", fmt::format("expected {}, got {}", allow, request.method)),
                "Allow", allow);
  }
  if (path.starts_with(topics_path)) return publish_route(request);
  if (path == "/v1/topics") return topics_route(request);
  if (path == "/v1/events") return EventsRoute{};
  if (path == "/v1/socket") return SocketRoute{};
  if (const web::Asset* const asset = web::find_asset(path)) return asset_page(request, *asset);
  if (path == "/v1/status" || path == "/metrics") return StatusRoute{path == "/metrics"};
  return health_page(path, site);
}

}  // namespace backplane::gateway::http
