#include "gateway/protocols/http/message.hpp"

#include <algorithm>
#include <array>
#include <ctime>
#include <iterator>

#include <boost/beast/http/status.hpp>
#include <fmt/format.h>

#include "core/payload/text.hpp"
#include "gateway/access/rights.hpp"

namespace backplane::gateway::http {
namespace {

std::string_view reason(int status) {
  const auto text = boost::beast::http::obsolete_reason(static_cast<boost::beast::http::status>(status));
  return {text.data(), text.size()};
}

/// The date in the form of RFC 9110: `Sun, 06 Nov 1994 08:49:37 GMT`.
std::string http_date() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  std::array<char, 40> text;
  return {text.data(), std::strftime(text.data(), text.size(), "%a, %d %b %Y %H:%M:%S GMT", &parts)};
}

}  // namespace

std::string lower_case(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return lower;
}

bool list_contains(std::string_view list, std::string_view token) {
  while (!list.empty()) {
    std::string_view part = list.substr(0, list.find(','));
    list.remove_prefix(std::min(part.size() + 1, list.size()));
    part.remove_prefix(std::min(part.find_first_not_of(" \t"), part.size()));
    part = part.substr(0, part.find_last_not_of(" \t") + 1);
    if (lower_case(part) == token) return true;
  }
  return false;
}

std::string_view Request::field(std::string_view name) const noexcept {
  const auto found =
      std::find_if(fields.begin(), fields.end(), [=](const auto& each) { return each.first == name; });
  return found == fields.end() ? std::string_view{} : std::string_view{found->second};
}

std::string_view name(Refusal refusal) noexcept {
  constexpr std::array<std::string_view, refusal_count> names = {"malformed", "too_large", "timed_out",
                                                                 "host", "origin"};
  return names[static_cast<std::size_t>(refusal)];
}

Response page(std::string_view content_type, std::string body) {
  return {200,
          {{"Content-Type", std::string(content_type)},
           {"Cache-Control", "no-store"},
           {"X-Content-Type-Options", "nosniff"}},
          std::move(body)};
}

Response text_page(int status, std::string line) {
  Response response = page("text/plain; charset=utf-8", std::move(line) + "\n");
  response.status = status;
  return response;
}

Response problem(int status, std::string_view code, std::string_view detail) {
  std::string body = R"({"type":"about:blank","title":)";
  append_json_string(reason(status), body);
  body += fmt::format(R"(,"status":{},"code":)", status);
  append_json_string(code, body);
  body += R"(,"detail":)";
  append_json_string(detail, body);
  body += "}\n";
  Response response = page("application/problem+json", std::move(body));
  response.status = status;
  return response;
}

Response access_problem(std::string_view code, std::string_view detail) {
  const bool unknown_user = code == not_authenticated;
  Response response = problem(unknown_user ? 401 : 403, code, detail);
  if (unknown_user) response.fields.emplace_back("WWW-Authenticate", R"(Bearer realm="backplane")");
  return response;
}

void append_head(const Response& response, Framing framing, bool keep_alive, std::string& out) {
  out += fmt::format("HTTP/1.1 {} {}\r\nDate: {}\r\n", response.status, reason(response.status), http_date());
  for (const auto& [name, value] : response.fields) out += fmt::format("{}: {}\r\n", name, value);
  if (framing == Framing::length) out += fmt::format("Content-Length: {}\r\n", response.body.size());
  if (framing == Framing::chunked) out += "Transfer-Encoding: chunked\r\n";
  out += fmt::format("Connection: {}\r\n\r\n", keep_alive ? "keep-alive" : "close");
}

void append_chunk(std::string_view bytes, std::string& out) {
  out += fmt::format("{:x}\r\n", bytes.size());
  out += bytes;
  out += "\r\n";
}

}  // namespace backplane::gateway::http
