#include "cli/connection/gateway_connection.hpp"

#include <algorithm>
#include <array>
#include <cstdint>

#include <fmt/format.h>

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

}  // namespace

Result<GatewayConnection> GatewayConnection::open(const std::string& address, Waiter& waiter,
                                                  std::chrono::milliseconds limit) {
  const auto host_port = parse_host_port(address, "--gateway");
  if (!host_port) return tl::unexpected(host_port.error());
  const auto until = Clock::now() + limit;
  auto connected = TcpConnection::open(*host_port, waiter, until);
  if (!connected) {
    return fail(connected.error().code,
                fmt::format("cannot reach a gateway at {}: {}", address, connected.error().text));
  }
  GatewayConnection gateway(std::move(*connected), address, waiter, limit);
  if (auto sent = gateway.send_line("PING"); !sent) return tl::unexpected(sent.error());
  // Look at the bytes before there is a whole line: another server's greeting may not end with one.
  const std::array fds{gateway.fd()};
  constexpr std::string_view pong = "+PONG\n";
  for (;;) {
    const auto received = gateway.receive();
    const std::string_view received_text = gateway.buffer_;
    if (received_text.starts_with(pong)) break;
    const bool refused =
        received_text.starts_with("!BYE ") && received_text.find('\n') != std::string_view::npos;
    if (refused) {
      return fail(ErrorCode::unavailable,
                  fmt::format("the gateway at {} accepts no more clients: {}", address,
                              received_text.substr(0, received_text.find('\n'))));
    }
    // Without a broker, the gateway may send a notice first.
    const bool may_become = pong.starts_with(received_text) || received_text.starts_with("!");
    if (!received_text.empty() && (!may_become || !received)) {
      return fail(ErrorCode::protocol,
                  fmt::format("the server at {} is not a gateway: expected +PONG, got {}", address,
                              quoted(received_text)));
    }
    if (!received) {
      return fail(ErrorCode::protocol,
                  fmt::format("the server at {} is not a gateway: it closed the connection", address));
    }
    if (received_text.starts_with("!") && received_text.find("\n+PONG\n") != std::string_view::npos) break;
    if (waiter.stopped()) return fail(ErrorCode::unavailable, "interrupted");
    if (Clock::now() >= until) {
      return fail(ErrorCode::timeout,
                  fmt::format("the server at {} did not reply within {} s: is it a gateway?", address,
                              limit.count() / 1000));
    }
    (void)waiter.wait(fds, until);
  }
  // Notices before the reply stay in the buffer, for the session.
  gateway.buffer_.erase(gateway.buffer_.find(pong), pong.size());
  return gateway;
}

Result<void> GatewayConnection::send_line(std::string_view line) {
  return send_bytes(std::string(line) + '\n');
}

Result<void> GatewayConnection::send_bytes(std::string_view bytes) {
  auto sent = connection_.send(bytes, *waiter_, Clock::now() + limit_);
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
  const auto bytes = connection_.receive(std::span(buffer_).subspan(before));
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
  const std::array fds{fd()};
  for (;;) {
    if (const auto line = take_line()) return std::string(*line);
    if (const auto received = receive(); !received) return tl::unexpected(received.error());
    if (const auto line = take_line()) return std::string(*line);
    if (waiter_->stopped()) return fail(ErrorCode::unavailable, "interrupted");
    if (Clock::now() >= until) {
      return fail(ErrorCode::timeout, fmt::format("the gateway at {} does not reply", address_));
    }
    (void)waiter_->wait(fds, until);
  }
}

}  // namespace backplane::cli
