#include "core/metrics/listener.hpp"

#include <algorithm>
#include <array>
#include <exception>
#include <list>
#include <optional>
#include <thread>
#include <utility>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <fmt/format.h>
#include <pthread.h>

#include "core/metrics/exposition.hpp"
#include "core/net/endpoint_addresses.hpp"
#include "core/net/host_port.hpp"

namespace backplane::metrics {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using tcp = asio::ip::tcp;
using boost::system::error_code;
using namespace std::chrono_literals;

// A response that the client does not read within this time is dropped.
constexpr auto write_max = 10s;
// A client that is disconnected may still be sending, and closing at once would destroy the response.
constexpr auto linger_max = 1s;
constexpr std::size_t linger_bytes_max = 64u << 10;
// The pause when the process has no descriptor left for another connection.
constexpr auto accept_pause = 100ms;

using Request = http::request<http::empty_body>;

struct Response {
  http::status status;
  std::string_view content_type;
  std::string body;
  std::string_view allow{};  ///< empty: no such field
};

/// The response as bytes. With Beast's writer this file, the slowest one, would take two thirds longer to
/// compile.
std::string serialize(const Response& response, bool keep_alive, bool head_only) {
  const beast::string_view reason = http::obsolete_reason(response.status);
  std::string bytes = fmt::format(
      "HTTP/1.1 {} {}\r\nContent-Type: {}\r\nCache-Control: no-store\r\n{}{}{}{}Content-Length: {}\r\n\r\n",
      static_cast<unsigned>(response.status), std::string_view(reason.data(), reason.size()),
      response.content_type, response.allow.empty() ? "" : "Allow: ", response.allow,
      response.allow.empty() ? "" : "\r\n", keep_alive ? "" : "Connection: close\r\n", response.body.size());
  if (!head_only) bytes += response.body;
  return bytes;
}

Response line(http::status status, std::string text) {
  return {status, "text/plain; charset=utf-8", std::move(text) + "\n"};
}

Response respond_to_path(std::string_view path, const MetricsListener::Pages& pages) {
  if (path == "/metrics") return {http::status::ok, exposition_type, pages.metrics()};
  if (path == "/healthz") return line(http::status::ok, "ok");
  if (path == "/readyz") {
    const std::string reason = pages.why_not_ready();
    const std::string note = pages.ready_note.empty() ? "" : '\n' + pages.ready_note;
    return reason.empty() ? line(http::status::ok, "ready" + note)
                          : line(http::status::service_unavailable, reason + note);
  }
  return line(http::status::not_found, "expected /metrics, /healthz or /readyz");
}

/// The path of a target, which may be a whole URL (RFC 9112, 3.2.2), without the query.
std::string_view path_of(std::string_view target) {
  target = target.substr(0, target.find('?'));
  if (target.starts_with('/')) return target;
  const std::size_t authority = target.find("://");
  if (authority == std::string_view::npos) return target;
  return target.substr(std::min(target.find('/', authority + 3), target.size()));
}

/// Any host is accepted: monitoring uses names of services, and there is nothing to protect.
Response respond(const Request& request, const MetricsListener::Pages& pages) {
  if (request.count(http::field::host) > 1) {
    return line(http::status::bad_request, "expected one Host, got several");
  }
  if (request.method() != http::verb::get && request.method() != http::verb::head) {
    Response response = line(http::status::method_not_allowed, "expected GET or HEAD");
    response.allow = "GET, HEAD";
    return response;
  }
  const std::string_view target(request.target().data(), request.target().size());
  try {
    return respond_to_path(path_of(target), pages);
  } catch (const std::exception& problem) {
    return line(http::status::internal_server_error, problem.what());
  }
}

std::string show(const tcp::endpoint& endpoint) {
  const std::string host = endpoint.address().to_string();
  return endpoint.address().is_v6() ? fmt::format("[{}]:{}", host, endpoint.port())
                                    : fmt::format("{}:{}", host, endpoint.port());
}

class Session;
/// The open connections, oldest first. Lives on the listener's thread.
using Sessions = std::list<Session*>;

/// One connection. Lives on the listener's thread; its pending operation keeps it alive.
class Session : public std::enable_shared_from_this<Session> {
 public:
  Session(tcp::socket socket, const MetricsListener::Pages& pages, const MetricsListener::Limits& limits,
          Sessions& sessions)
      : stream_(std::move(socket)),
        pages_(pages),
        limits_(limits),
        sessions_(sessions),
        place_(sessions.insert(sessions.end(), this)),
        buffer_(limits.header_bytes_max + 1024) {}
  ~Session() { sessions_.erase(place_); }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  void read() {
    idle_ = true;
    parser_.emplace();
    parser_->header_limit(static_cast<std::uint32_t>(limits_.header_bytes_max));
    stream_.expires_after(limits_.idle_max);
    http::async_read(stream_, buffer_, *parser_,
                     [self = shared_from_this()](error_code error, std::size_t) { self->on_read(error); });
  }

  /// Whether it has no request that awaits a response.
  [[nodiscard]] bool is_idle() const { return idle_; }
  void close() {
    idle_ = false;
    stream_.close();
  }

 private:
  void on_read(error_code error) {
    idle_ = false;
    if (!error) {
      const Request& request = parser_->get();
      // The parser's keep_alive() sees all Connection fields, the request's only the first.
      return write(respond(request, pages_), parser_->keep_alive(), request.method() == http::verb::head);
    }
    if (error == http::error::header_limit || error == http::error::buffer_overflow) {
      return write(
          line(http::status::request_header_fields_too_large,
               fmt::format("expected a header of at most {} bytes, got more", limits_.header_bytes_max)),
          false, false);
    }
    if (error == http::error::unexpected_body) {
      return write(line(http::status::payload_too_large, "expected a request without a body"), false, false);
    }
    const bool is_http = error.category() == http::make_error_code(http::error::bad_method).category();
    if (is_http && error != http::error::end_of_stream && error != http::error::partial_message) {
      write(line(http::status::bad_request, "expected an HTTP/1.1 request: " + error.message()), false,
            false);
    }
    // Otherwise the client has gone, or was silent for too long.
  }

  void write(const Response& response, bool keep_alive, bool head_only) {
    response_ = serialize(response, keep_alive, head_only);
    stream_.expires_after(write_max);
    asio::async_write(stream_, asio::buffer(response_),
                      [self = shared_from_this(), keep_alive](error_code error, std::size_t) {
                        if (error) return;
                        keep_alive ? self->read() : self->linger();
                      });
  }

  void linger() {
    idle_ = true;
    error_code ignored;
    stream_.socket().shutdown(tcp::socket::shutdown_send, ignored);
    stream_.expires_after(linger_max);
    discard(linger_bytes_max);
  }

  void discard(std::size_t bytes_left) {
    stream_.async_read_some(asio::buffer(discarded_),
                            [self = shared_from_this(), bytes_left](error_code error, std::size_t bytes) {
                              if (!error && bytes < bytes_left) self->discard(bytes_left - bytes);
                            });
  }

  beast::tcp_stream stream_;
  const MetricsListener::Pages& pages_;
  const MetricsListener::Limits& limits_;
  Sessions& sessions_;
  Sessions::iterator place_;
  bool idle_{};
  beast::flat_buffer buffer_;
  std::optional<http::request_parser<http::empty_body>> parser_;
  std::string response_;
  std::array<char, 1024> discarded_;
};

}  // namespace

/// Everything except io_.stop() happens on the thread, once it runs.
class MetricsListener::Impl {
 public:
  Impl(Pages pages, Limits limits) : pages_(std::move(pages)), limits_(limits) {}
  ~Impl() {
    io_.stop();
    if (thread_.joinable()) thread_.join();
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  Result<std::string> bind(std::string_view address) {
    const auto parts = parse_host_port(address, "");
    if (!parts) {
      return fail(ErrorCode::invalid_argument,
                  fmt::format("expected HOST:PORT to listen on, IPv6 in brackets, got \"{}\"", address));
    }
    const auto refused = [&](const error_code& error) {
      return fail(ErrorCode::io, fmt::format("cannot listen on {}: {}", address, error.message()));
    };
    if (is_localhost(parts->host)) {
      if (const error_code error = bind_localhost(parts->port)) return refused(error);
      return show(acceptors_.front().local_endpoint());
    }
    error_code error;
    const auto found =
        tcp::resolver(io_).resolve(parts->host, std::to_string(parts->port),
                                   tcp::resolver::passive | tcp::resolver::numeric_service, error);
    if (!error) error = bind(found.begin()->endpoint());
    if (error) return refused(error);
    return show(acceptors_.front().local_endpoint());
  }

  void start() {
    for (tcp::acceptor& each : acceptors_) accept(each);
    thread_ = std::thread([this] {
      ::pthread_setname_np(::pthread_self(), "metrics");
      io_.run();
    });
  }

 private:
  error_code bind(const tcp::endpoint& endpoint) {
    tcp::acceptor acceptor(io_);
    error_code error;
    if (acceptor.open(endpoint.protocol(), error)) return error;
    if (acceptor.set_option(tcp::acceptor::reuse_address(true), error)) return error;
    if (acceptor.bind(endpoint, error)) return error;
    if (acceptor.listen(asio::socket_base::max_listen_connections, error)) return error;
    acceptors_.push_back(std::move(acceptor));
    return error;
  }

  /// Both loopback addresses have the same port. Without IPv6, there is only one of them.
  error_code bind_localhost(std::uint16_t port) {
    constexpr int attempts_max = 20;  // a port that is free on one address may be taken on the other
    for (int attempt = 0;; ++attempt) {
      if (const error_code error = bind({asio::ip::address_v4::loopback(), port})) return error;
      const std::uint16_t chosen = acceptors_.front().local_endpoint().port();
      const error_code error = bind({asio::ip::address_v6::loopback(), chosen});
      if (!error || error == asio::error::address_family_not_supported || error.value() == EADDRNOTAVAIL)
        return {};
      if (port != 0 || error != asio::error::address_in_use || attempt == attempts_max) return error;
      acceptors_.clear();
    }
  }

  void accept(tcp::acceptor& acceptor) {
    acceptor.async_accept([this, &acceptor](error_code error, tcp::socket socket) {
      if (error) return pause(acceptor);
      close_oldest_if_full();
      std::make_shared<Session>(std::move(socket), pages_, limits_, sessions_)->read();
      accept(acceptor);
    });
  }

  void pause(tcp::acceptor& acceptor) {
    auto timer = std::make_shared<asio::steady_timer>(io_, accept_pause);
    timer->async_wait([this, timer, &acceptor](error_code error) {
      if (!error) accept(acceptor);
    });
  }

  void close_oldest_if_full() {
    if (sessions_.size() < limits_.connections_max) return;
    const auto oldest =
        std::find_if(sessions_.begin(), sessions_.end(), [](auto* each) { return each->is_idle(); });
    (oldest == sessions_.end() ? sessions_.front() : *oldest)->close();
  }

  Pages pages_;
  Limits limits_;
  Sessions sessions_;  // destroyed after io_, whose handlers own the sessions
  asio::io_context io_{1};
  std::vector<tcp::acceptor> acceptors_;  // does not change once they accept
  std::thread thread_;
};

Result<void> check_address(std::string_view address, std::string_view where) {
  if (parse_host_port(address, where)) return {};
  return fail(
      ErrorCode::invalid_argument,
      fmt::format("{}: expected HOST:PORT such as 127.0.0.1:9570 or [::1]:9570, got \"{}\"", where, address));
}

Result<std::unique_ptr<MetricsListener>> MetricsListener::open(std::string_view address, Pages pages) {
  return open(address, std::move(pages), Limits{});
}

Result<std::unique_ptr<MetricsListener>> MetricsListener::open(std::string_view address, Pages pages,
                                                               Limits limits) {
  auto impl = std::make_unique<Impl>(std::move(pages), limits);
  auto bound = impl->bind(address);
  if (!bound) return tl::unexpected(bound.error());
  impl->start();
  return std::unique_ptr<MetricsListener>(new MetricsListener(std::move(impl), std::move(*bound)));
}

MetricsListener::MetricsListener(std::unique_ptr<Impl> impl, std::string address)
    : impl_(std::move(impl)), address_(std::move(address)) {}
MetricsListener::~MetricsListener() = default;

}  // namespace backplane::metrics
