#include "cli/connection/gateway_connection.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include <fmt/format.h>

#include "cli/connection/endpoint_diagnosis.hpp"
#include "cli/connection/tcp_connection.hpp"
#include "cli/connection/tls_connection.hpp"

namespace backplane::cli {
namespace {

constexpr std::size_t piece_bytes = 64u << 10;
/// More than the largest event as JSON.
constexpr std::size_t line_bytes_max = 512u << 20;

/// The beginning of an unexpected reply, in quotes.
std::string quoted(std::string_view text) {
  constexpr std::size_t shown_max = 60;
  return fmt::format("\"{}{}\"", text.substr(0, shown_max), text.size() > shown_max ? "…" : "");
}

Result<std::unique_ptr<Connection>> connect(const GatewayEndpoint& endpoint, Waiter& waiter,
                                            Connection::Clock::time_point until) {
  auto socket = TcpConnection::open(endpoint.place, waiter, until);
  if (!socket) {
    return fail(socket.error().code,
                fmt::format("cannot reach a gateway at {}: {}", endpoint.address, socket.error().text));
  }
  if (endpoint.tls == nullptr) return std::make_unique<TcpConnection>(std::move(*socket));
  auto secure = TlsConnection::open(std::move(*socket), endpoint.tls, endpoint.place.host, waiter, until);
  if (secure) return std::move(*secure);
  return fail(secure.error().code, fmt::format("cannot connect to the gateway at {} with TLS: {}",
                                               endpoint.address, secure.error().text));
}

}  // namespace

Result<GatewayConnection> GatewayConnection::open(const GatewayEndpoint& endpoint, Waiter& waiter,
                                                  std::chrono::milliseconds limit) {
  const auto until = Clock::now() + limit;
  auto connection = connect(endpoint, waiter, until);
  if (!connection) return tl::unexpected(connection.error());
  GatewayConnection gateway(std::move(*connection), endpoint.address, waiter, limit);
  // Before the token: another server may log what it does not understand.
  if (auto recognised = gateway.recognise(until); !recognised) return tl::unexpected(recognised.error());
  if (!endpoint.token) return gateway;
  auto authenticated = gateway.authenticate(*endpoint.token, Clock::now() + limit);
  if (!authenticated) return tl::unexpected(authenticated.error());
  return gateway;
}

/// Checks that the server is a gateway.
Result<void> GatewayConnection::recognise(Clock::time_point until) {
  if (auto sent = send_line("PING"); !sent) return sent;
  // Look at the bytes before there is a whole line: another server's greeting may not end with one.
  constexpr std::string_view pong = "+PONG\n";
  constexpr std::string_view tls_required = "-ERR tls_required ";
  constexpr std::string_view tls_alert = "\x15\x03";
  for (;;) {
    auto received = receive();
    const std::string_view text = buffer_;
    if (text.starts_with(pong)) break;
    if (text.starts_with(tls_required) || text.starts_with(tls_alert)) {
      return fail(
          ErrorCode::protocol,
          fmt::format("the gateway at {} requires TLS: use --ca FILE, or --tls for the authorities of "
                      "this system",
                      address_));
    }
    if (text.starts_with("!BYE ") && text.find('\n') != std::string_view::npos) {
      const std::string_view line = text.substr(0, text.find('\n'));
      const Error error = closed_error(address_, line.substr(5));
      if (error.code == ErrorCode::invalid_argument) return tl::unexpected(error);
      return fail(ErrorCode::unavailable,
                  fmt::format("the gateway at {} accepts no more clients: {}", address_, line));
    }
    // Without a broker, the gateway may send a notice first.
    const bool may_become = pong.starts_with(text) || tls_required.starts_with(text) ||
                            tls_alert.starts_with(text) || text.starts_with("!");
    if (!text.empty() && (!may_become || !received)) {
      return fail(
          ErrorCode::protocol,
          fmt::format("the server at {} is not a gateway: expected +PONG, got {}", address_, quoted(text)));
    }
    // With TLS 1.3, the server verifies the client's certificate after the client's handshake.
    if (!received && received.error().code == ErrorCode::protocol) return received;
    if (!received) {
      return fail(ErrorCode::protocol,
                  fmt::format("the server at {} is not a gateway: it closed the connection", address_));
    }
    if (text.starts_with("!") && text.find("\n+PONG\n") != std::string_view::npos) break;
    if (waiter_->stopped()) return fail(ErrorCode::unavailable, "interrupted");
    if (Clock::now() >= until) {
      return fail(ErrorCode::timeout,
                  fmt::format("the server at {} did not reply within {}: is it a gateway?", address_,
                              waited_text(limit_)));
    }
    wait_input(until);
  }
  // Notices before the reply stay in the buffer, for the session.
  buffer_.erase(buffer_.find(pong), pong.size());
  return {};
}

Result<void> GatewayConnection::authenticate(const Token& token, Clock::time_point until) {
  std::string line = fmt::format("AUTH {}\n", token.secret());
  auto sent = send_bytes(line);
  ::explicit_bzero(line.data(), line.size());
  if (!sent) return sent;
  std::optional<std::string> reply;
  while (!(reply = take_reply())) {
    if (waiter_->stopped()) return fail(ErrorCode::unavailable, "interrupted");
    if (Clock::now() >= until) {
      return fail(ErrorCode::timeout, fmt::format("the gateway at {} did not verify the token within {}",
                                                  address_, waited_text(limit_)));
    }
    wait_input(until);
    auto received = receive();
    if (received) continue;
    if ((reply = take_reply())) break;
    return received;
  }
  if (reply->starts_with("+OK AUTH")) return {};
  if (reply->starts_with("!BYE ")) return tl::unexpected(closed_error(address_, reply->substr(5)));
  std::string text = *reply;
  if (text.starts_with("-ERR ")) text.erase(0, 5);
  if (text.find(token.secret()) != std::string::npos) text = "it repeated the token";
  // It verifies no tokens for a moment; this one may be right.
  const bool later = text.find("try again in ") != std::string::npos;
  return fail(later ? ErrorCode::unavailable : ErrorCode::invalid_argument,
              fmt::format("the gateway at {} did not accept the token: {}", address_, text));
}

/// Takes the first line that is a reply or the end. Notices before it stay in the buffer, for the session.
std::optional<std::string> GatewayConnection::take_reply() {
  for (std::size_t at = 0;;) {
    const std::size_t end = buffer_.find('\n', at);
    if (end == std::string::npos) return std::nullopt;
    std::string line = buffer_.substr(at, end - at);
    if (!line.starts_with('!') || line.starts_with("!BYE ")) {
      buffer_.erase(at, end + 1 - at);
      return line;
    }
    at = end + 1;
  }
}

Result<void> GatewayConnection::send_line(std::string_view line) {
  return send_bytes(std::string(line) + '\n');
}

Result<void> GatewayConnection::send_bytes(std::string_view bytes) {
  auto sent = connection_->send(bytes, *waiter_, Clock::now() + limit_);
  if (sent) return sent;
  return fail(sent.error().code, fmt::format("the gateway at {}: {}", address_, sent.error().text));
}

void GatewayConnection::drop_taken() {
  buffer_.erase(0, std::exchange(taken_, 0));
}

Result<void> GatewayConnection::receive() {
  drop_taken();
  const std::size_t before = buffer_.size();
  if (before >= line_bytes_max) {
    return fail(ErrorCode::protocol,
                fmt::format("the gateway at {}: expected lines of at most {} bytes, got a longer one",
                            address_, line_bytes_max));
  }
  buffer_.resize(before + piece_bytes);
  const auto bytes = connection_->receive(std::span(buffer_).subspan(before));
  buffer_.resize(before + bytes.value_or(0));
  if (bytes) return {};
  return fail(bytes.error().code, fmt::format("the gateway at {}: {}", address_, bytes.error().text));
}

std::optional<std::string_view> GatewayConnection::take_line() {
  // Lines are taken from the front of the buffer, which is dropped when more is received.
  const std::size_t from = std::max(taken_, searched_);
  const std::size_t end = buffer_.find('\n', from);
  if (end == std::string::npos) {
    drop_taken();
    searched_ = buffer_.size();
    return std::nullopt;
  }
  std::string_view line = std::string_view(buffer_).substr(taken_, end - taken_);
  taken_ = end + 1;
  searched_ = 0;
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

Result<std::optional<std::string_view>> GatewayConnection::take_message() {
  searched_ = 0;
  const std::string_view rest = std::string_view(buffer_).substr(taken_);
  std::uint64_t length = 0;
  std::size_t digits = 0;
  for (;; ++digits) {
    if (digits == rest.size()) return std::optional<std::string_view>{};
    const auto byte = static_cast<unsigned char>(rest[digits]);
    length |= static_cast<std::uint64_t>(byte & 0x7fU) << (7 * digits);
    if ((byte & 0x80U) == 0) break;
    if (digits == 4)
      return fail(
          ErrorCode::protocol,
          fmt::format("the gateway at {}: expected the length of a message, got other bytes", address_));
  }
  if (length > line_bytes_max) {
    return fail(ErrorCode::protocol,
                fmt::format("the gateway at {}: expected messages of at most {} bytes, got {}", address_,
                            line_bytes_max, length));
  }
  if (rest.size() - digits - 1 < length) return std::optional<std::string_view>{};
  taken_ += digits + 1 + length;
  return std::optional(rest.substr(digits + 1, length));
}

Result<std::string> GatewayConnection::wait_line(Clock::time_point until) {
  for (;;) {
    if (const auto line = take_line()) return std::string(*line);
    if (const auto received = receive(); !received) return tl::unexpected(received.error());
    if (const auto line = take_line()) return std::string(*line);
    if (waiter_->stopped()) return fail(ErrorCode::unavailable, "interrupted");
    if (Clock::now() >= until) {
      return fail(ErrorCode::timeout, fmt::format("the gateway at {} does not reply", address_));
    }
    wait_input(until);
  }
}

std::string refusal_text(std::string_view refusal) {
  std::string text(refusal);
  if (text.starts_with("not_authenticated")) text += "; give it with --token-file or BACKPLANE_TOKEN_FILE";
  return text;
}

Error closed_error(const std::string& address, std::string_view reason) {
  if (reason == "revoked") {
    return {
        ErrorCode::invalid_argument,
        fmt::format("the gateway at {} closed the connection: revoked (the policy has changed: this "
                    "client's token or certificate is no longer valid, or no longer permits what it reads)",
                    address)};
  }
  if (reason == "not_permitted") {
    return {ErrorCode::invalid_argument,
            fmt::format("the gateway at {} closed the connection: not_permitted (clients without credentials "
                        "may read nothing of this port)",
                        address)};
  }
  return {ErrorCode::unavailable,
          fmt::format("the gateway at {} closed the connection: {}", address, reason)};
}

}  // namespace backplane::cli
