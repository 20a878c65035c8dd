#include "gateway/protocols/websocket/handshake.hpp"

#include <algorithm>
#include <cstddef>
#include <exception>
#include <string_view>
#include <utility>

#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/websocket/stream.hpp>
#include <fmt/format.h>

namespace backplane::gateway::websocket {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;

/// What Beast's handshake writes to, in place of a socket. It never reads.
class Answer {
 public:
  using executor_type = asio::io_context::executor_type;

  explicit Answer(asio::io_context& context) : context_(context) {}
  executor_type get_executor() noexcept { return context_.get_executor(); }

  template <class Buffers>
  std::size_t read_some(const Buffers& buffers) {
    beast::error_code error;
    return read_some(buffers, error);
  }
  template <class Buffers>
  std::size_t read_some(const Buffers&, beast::error_code& error) {
    error = asio::error::eof;
    return 0;
  }
  template <class Buffers>
  std::size_t write_some(const Buffers& buffers) {
    beast::error_code error;
    return write_some(buffers, error);
  }
  template <class Buffers>
  std::size_t write_some(const Buffers& buffers, beast::error_code& error) {
    error = {};
    std::size_t written = 0;
    for (auto each = asio::buffer_sequence_begin(buffers); each != asio::buffer_sequence_end(buffers);
         ++each) {
      const asio::const_buffer bytes(*each);
      bytes_.append(static_cast<const char*>(bytes.data()), bytes.size());
      written += bytes.size();
    }
    return written;
  }

  [[nodiscard]] std::string& bytes() noexcept { return bytes_; }

 private:
  asio::io_context& context_;
  std::string bytes_;
};

UpgradeRefusal refusal(const beast::error_code& why) {
  using beast::websocket::error;
  const bool upgrade_required = why == error::no_sec_version || why == error::bad_sec_version ||
                                why == error::no_connection || why == error::no_connection_upgrade ||
                                why == error::no_upgrade || why == error::no_upgrade_websocket;
  const auto status = upgrade_required ? http::status::upgrade_required : http::status::bad_request;
  return {static_cast<unsigned>(status), "wanted the handshake of a WebSocket: " + why.message()};
}

/// Whether it can be 16 bytes in base64, which Beast leaves to us.
bool is_key(std::string_view text) noexcept {
  constexpr std::size_t digits = 22;
  constexpr std::string_view padding = "==";
  return text.size() == digits + padding.size() && text.ends_with(padding) &&
         std::all_of(text.begin(), text.begin() + digits, [](char c) {
           return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' ||
                  c == '/';
         });
}

/// The first of the fields that stands twice and may not (RFC 6455, 11.3.1 and 11.3.5); empty: none. Beast
/// looks at the first one alone.
std::string_view repeated(const UpgradeRequest& request) {
  for (const std::string_view single : {"Sec-WebSocket-Key", "Sec-WebSocket-Version"}) {
    const auto count = std::count_if(request.fields.begin(), request.fields.end(),
                                     [&](const auto& field) { return beast::iequals(field.first, single); });
    if (count > 1) return single;
  }
  return {};
}

}  // namespace

tl::expected<std::string, UpgradeRefusal> answer_upgrade(const UpgradeRequest& request) try {
  if (const std::string_view field = repeated(request); !field.empty()) {
    return tl::unexpected(
        UpgradeRefusal{static_cast<unsigned>(http::status::bad_request),
                       fmt::format("wanted the handshake of a WebSocket: {} stands more than once", field)});
  }
  http::request<http::empty_body> asked;
  asked.method_string(request.method);
  asked.target(request.target);
  asked.version(request.version);
  for (const auto& [name, value] : request.fields) {
    // Beast would answer 100 before 101.
    if (!beast::iequals(name, "Expect")) asked.insert(name, value);
  }
  asio::io_context context;
  beast::websocket::stream<Answer, /*deflate=*/false> stream(context);
  stream.set_option(beast::websocket::stream_base::decorator(
      [](beast::websocket::response_type& response) { response.set(http::field::server, "backplane"); }));
  beast::error_code error;
  stream.accept(asked, error);
  if (error) return tl::unexpected(refusal(error));
  if (!is_key(asked[http::field::sec_websocket_key])) {
    return tl::unexpected(refusal(beast::websocket::error::bad_sec_key));
  }
  return std::move(stream.next_layer().bytes());
} catch (const std::exception& error) {
  constexpr unsigned service_unavailable = 503;  // there are no descriptors for it, or no memory
  return tl::unexpected(UpgradeRefusal{service_unavailable, error.what()});
}

}  // namespace backplane::gateway::websocket
