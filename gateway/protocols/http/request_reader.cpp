#include "gateway/protocols/http/request_reader.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include <boost/beast/core/string.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <fmt/format.h>

#include "gateway/commands/command.hpp"
#include "gateway/session/first_line.hpp"

namespace backplane::gateway::http {
namespace {

namespace beast = boost::beast;
using boost::system::error_code;

std::string_view view(beast::string_view text) {
  return {text.data(), text.size()};
}

// Fields that are not lists. If one occurs twice, two readers might use different ones.
constexpr std::array<std::string_view, 26> single_fields = {"access-control-request-method",
                                                            "authorization",
                                                            "content-disposition",
                                                            "content-length",
                                                            "content-location",
                                                            "content-range",
                                                            "content-type",
                                                            "date",
                                                            "from",
                                                            "host",
                                                            "if-modified-since",
                                                            "if-range",
                                                            "if-unmodified-since",
                                                            "last-event-id",
                                                            "max-forwards",
                                                            "origin",
                                                            "proxy-authorization",
                                                            "range",
                                                            "referer",
                                                            "sec-fetch-dest",
                                                            "sec-fetch-mode",
                                                            "sec-fetch-site",
                                                            "sec-websocket-key",
                                                            "sec-websocket-version",
                                                            "transfer-encoding",
                                                            "user-agent"};

bool is_single(std::string_view name) {
  return std::find(single_fields.begin(), single_fields.end(), name) != single_fields.end();
}

/// Adds another line of a list to its value.
void add_to_list(std::string_view name, std::string_view more, std::string& value) {
  if (more.empty()) return;
  if (!value.empty()) value += name == "cookie" ? "; " : ", ";
  value += more;
}

/// Whether everything that the client expects is `100-continue`.
bool expects_only_continue(std::string_view list) {
  for (std::string rest = lower_case(list); !rest.empty();) {
    const std::size_t comma = std::min(rest.find(','), rest.size());
    const std::string part = rest.substr(0, comma);
    rest.erase(0, comma + 1);
    if (!list_contains(part, "100-continue") && !list_contains(part, "")) return false;
  }
  return true;
}

}  // namespace

class RequestReader::Parser {
 public:
  explicit Parser(std::size_t body_bytes_max) {
    parser_.header_limit(std::numeric_limits<std::uint32_t>::max());  // find_end_of_head() has checked it
    parser_.body_limit(body_bytes_max);
    parser_.eager(true);
  }
  /// @returns the number of bytes that were consumed.
  std::size_t put(std::string_view bytes, error_code& error) {
    return parser_.put({bytes.data(), bytes.size()}, error);
  }
  [[nodiscard]] bool done() const { return parser_.is_done(); }
  [[nodiscard]] bool has_head() const { return parser_.is_header_done(); }
  [[nodiscard]] bool chunked() const { return parser_.chunked(); }
  [[nodiscard]] const auto& message() const { return parser_.get(); }
  [[nodiscard]] std::string take_body() { return std::move(parser_.get().body()); }

 private:
  beast::http::request_parser<beast::http::string_body> parser_;
};

RequestReader::RequestReader(Limits limits) : limits_(limits) {}
RequestReader::~RequestReader() = default;

RequestReader::State RequestReader::fail(Refusal refusal, int status, std::string detail) {
  fault_ = {refusal, status, std::move(detail)};
  return state_ = State::bad;
}

/// Beast parses a complete head only. It would unfold lines, and would notice a bare CR too late.
bool RequestReader::find_end_of_head() {
  for (const std::size_t end = std::min(bytes_.size(), limits_.header_bytes_max); searched_ < end;
       ++searched_) {
    const char c = bytes_[searched_];
    const char before = searched_ > 0 ? bytes_[searched_ - 1] : '\0';
    if (c == '\n' && before != '\r') {
      fail(Refusal::malformed, 400, "expected lines that end in CR LF, got a bare LF");
      return false;
    }
    if (before == '\r' && c != '\n') {
      fail(Refusal::malformed, 400, "expected lines that end in CR LF, got a bare CR");
      return false;
    }
    if (before == '\n' && (c == ' ' || c == '\t')) {
      fail(Refusal::malformed, 400, "expected each field on one line, got a folded one");
      return false;
    }
    if (c == '\n' && searched_ >= 3 && bytes_[searched_ - 2] == '\n') {
      ++searched_;
      return true;
    }
  }
  return false;
}

RequestReader::State RequestReader::read() {
  if (state_ == State::bad || state_ == State::whole) return state_;
  if (bytes_.empty() && !parser_) return state_ = State::empty;
  state_ = State::reading;
  if (!parser_ && read_head() != State::reading) return state_;
  return parser_ ? read_body() : state_;
}

RequestReader::State RequestReader::read_head() {
  // Some clients end the previous body with an extra empty line.
  if (searched_ == 0 && bytes_.starts_with("\r\n") && !std::exchange(skipped_line_, true)) bytes_.erase(0, 2);
  if (bytes_.empty()) return state_ = State::empty;
  if (bytes_ == "\r") return state_;
  if (!find_end_of_head()) {
    if (state_ == State::bad || searched_ < limits_.header_bytes_max) return state_;
    const bool in_first_line = bytes_.find('\n') >= limits_.header_bytes_max;
    return fail(Refusal::too_large, in_first_line ? 414 : 431,
                fmt::format("expected a request line and fields of at most {} bytes, got more",
                            limits_.header_bytes_max));
  }
  parser_ = std::make_unique<Parser>(limits_.body_bytes_max);
  error_code error;
  const std::size_t used = parser_->put(std::string_view(bytes_).substr(0, searched_), error);
  namespace http = beast::http;
  // Beast reports everything after the target as a bad version.
  const std::string_view line = std::string_view(bytes_).substr(0, bytes_.find('\r'));
  const bool three_words = std::count(line.begin(), line.end(), ' ') == 2;
  if (error == http::error::bad_version && three_words && protocol_of(line) == Protocol::http) {
    return fail(Refusal::malformed, 505, "expected HTTP/1.1 or HTTP/1.0, got another version");
  }
  if (error == http::error::body_limit) {
    return fail(Refusal::too_large, 413,
                fmt::format("expected a body of at most {} bytes, got more", limits_.body_bytes_max));
  }
  if (error && error != http::error::need_more) return fail(Refusal::malformed, 400, error.message());
  if (!parser_->has_head()) return fail(Refusal::malformed, 400, "expected a request, got something else");
  bytes_.erase(0, used);
  searched_ = 0;
  if (!check_fields()) return state_;
  wants_continue_ = !request_.field("expect").empty() && bytes_.empty() && !parser_->done();
  return state_;
}

bool RequestReader::check_fields() {
  const auto& message = parser_->message();
  request_ = {};
  request_.method = view(message.method_string());
  request_.http_1_0 = message.version() == 10;
  const auto bad = [&](int status, std::string detail) {
    fail(Refusal::malformed, status, std::move(detail));
    return false;
  };
  for (const auto& field : message) {
    std::string name = lower_case(view(field.name_string()));
    // Beast counts without comparing all names with each other: a head may have thousands.
    const std::size_t count = message.count(field.name_string());
    if (count > 1 && is_single(name)) return bad(400, fmt::format("expected one {}, got {}", name, count));
    const auto same = count == 1 ? request_.fields.end()
                                 : std::find_if(request_.fields.begin(), request_.fields.end(),
                                                [&](const auto& each) { return each.first == name; });
    if (same == request_.fields.end()) {
      request_.fields.emplace_back(std::move(name), view(field.value()));
    } else {
      add_to_list(name, view(field.value()), same->second);
    }
  }
  const bool has_length = message.count(beast::http::field::content_length) > 0;
  const std::string_view length = request_.field("content-length");
  if (length.find_first_not_of("0123456789") != std::string_view::npos) {
    return bad(400, "expected a Content-Length that is one number");
  }
  const bool has_coding = message.count(beast::http::field::transfer_encoding) > 0;
  if (has_coding && (has_length || request_.http_1_0)) {
    return bad(400, "expected a Transfer-Encoding only in HTTP/1.1 and without Content-Length");
  }
  if (has_coding && lower_case(request_.field("transfer-encoding")) != "chunked") {
    return bad(501, "expected Transfer-Encoding: chunked, got " + shown(request_.field("transfer-encoding")));
  }
  if (message.count(beast::http::field::host) == 0 && !request_.http_1_0)
    return bad(400, "expected one Host");
  if (const auto expect = request_.field("expect"); !expects_only_continue(expect)) {
    return bad(417, "expected Expect: 100-continue, got " + shown(expect));
  }
  const std::string_view connection = request_.field("connection");
  request_.keep_alive =
      !list_contains(connection, "close") && (!request_.http_1_0 || list_contains(connection, "keep-alive"));
  request_.host = request_.field("host");
  return take_target(view(message.target()));
}

bool RequestReader::take_target(std::string_view target) {
  const std::string_view whole = target;
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (!lower_case(target.substr(0, scheme.size())).starts_with(scheme)) continue;
    target.remove_prefix(scheme.size());
    const std::size_t path = std::min(target.find_first_of("/?"), target.size());
    request_.host = target.substr(0, path);
    target.remove_prefix(path);
    if (target.empty() || target.front() == '?') {
      request_.path = "/";
      break;
    }
  }
  const bool server = whole == "*" && request_.method == "OPTIONS";
  const bool path = target.starts_with('/') || !request_.path.empty();
  if ((!server && !path) || target.find('#') != std::string_view::npos) {
    fail(Refusal::malformed, 400, "expected a target that begins with /, got " + shown(whole));
    return false;
  }
  const std::size_t question = std::min(target.find('?'), target.size());
  if (request_.path.empty()) request_.path = target.substr(0, question);
  request_.query = target.substr(std::min(question + 1, target.size()));
  return true;
}

RequestReader::State RequestReader::read_body() {
  namespace http = beast::http;
  std::size_t used = 0;
  while (!parser_->done() && used < bytes_.size()) {
    // Beast parses a chunk's head when it is complete, and a head may be endless. Bounding the bytes that
    // Beast gets at a time makes a head too long regardless of how it arrives.
    const std::string_view visible = std::string_view(bytes_).substr(used, limits_.header_bytes_max + 1);
    // Beast 1.81 aborts if it gets part of the last chunk twice. No message is complete with fewer bytes.
    if (parser_->chunked() && visible.size() < last_chunk.size()) break;
    error_code error;
    const std::size_t taken = parser_->put(visible, error);
    used += taken;
    if (error == http::error::body_limit) {
      return fail(Refusal::too_large, 413,
                  fmt::format("expected a body of at most {} bytes, got more", limits_.body_bytes_max));
    }
    if (error && error != http::error::need_more) return fail(Refusal::malformed, 400, error.message());
    if (taken > 0) continue;
    if (visible.size() <= limits_.header_bytes_max) break;
    return fail(Refusal::malformed, 400, "expected a chunk that begins with its size, got a longer line");
  }
  bytes_.erase(0, used);
  return parser_->done() ? state_ = State::whole : state_;
}

bool RequestReader::take_continue() noexcept {
  return std::exchange(wants_continue_, false);
}

Request RequestReader::take() {
  request_.body = parser_->take_body();
  parser_.reset();
  wants_continue_ = false;
  skipped_line_ = false;
  state_ = State::empty;
  if (bytes_.empty()) bytes_ = {};  // releases the memory of a large request
  return std::exchange(request_, {});
}

}  // namespace backplane::gateway::http
