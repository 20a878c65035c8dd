#include "cli/connection/gateway_connection.hpp"

#include <algorithm>
#include <array>
#include <cstdint>

#include <fmt/format.h>

namespace backplane::cli {
namespace {

constexpr std::size_t piece_bytes = 64u << 10;
/// The largest event as JSON, with room to spare: what is longer is no gateway's.
constexpr std::size_t line_bytes_max = 512u << 20;

/// How the answer of something else is shown.
std::string shown(std::string_view text) {
  constexpr std::size_t shown_max = 60;
  return fmt::format("\"{}{}\"", text.substr(0, shown_max), text.size() > shown_max ? "…" : "");
}

}  // namespace

Result<GatewayConnection> GatewayConnection::open(const std::string& place, Waiter& waiter,
                                                  std::chrono::milliseconds limit) {
  const auto host_port = parse_host_port(place, "--gateway");
  if (!host_port) return tl::unexpected(host_port.error());
  const auto until = Clock::now() + limit;
  auto connected = TcpConnection::open(*host_port, waiter, until);
  if (!connected) {
    return fail(connected.error().code,
                fmt::format("no gateway answers at {}: {}", place, connected.error().text));
  }
  GatewayConnection gateway(std::move(*connected), place, waiter, limit);
  if (auto sent = gateway.send_line("PING"); !sent) return tl::unexpected(sent.error());
  // What comes is looked at before it is a line: not everybody's greeting ends.
  const std::array fds{gateway.fd()};
  constexpr std::string_view pong = "+PONG\n";
  for (;;) {
    const auto received = gateway.receive();
    const std::string_view said = gateway.buffer_;
    if (said.starts_with(pong)) break;
    const bool refused = said.starts_with("!BYE ") && said.find('\n') != std::string_view::npos;
    if (refused) {
      return fail(ErrorCode::unavailable, fmt::format("the gateway at {} takes no more clients: {}", place,
                                                      said.substr(0, said.find('\n'))));
    }
    // Whoever connects while there is no broker may be told so first.
    const bool may_become = pong.starts_with(said) || said.starts_with("!");
    if (!said.empty() && (!may_become || !received)) {
      return fail(ErrorCode::protocol,
                  fmt::format("what listens at {} is no gateway: it says {}", place, shown(said)));
    }
    if (!received) {
      return fail(ErrorCode::protocol,
                  fmt::format("what listens at {} is no gateway: it closes the connection", place));
    }
    if (said.starts_with("!") && said.find("\n+PONG\n") != std::string_view::npos) break;
    if (waiter.stopped()) return fail(ErrorCode::unavailable, "interrupted");
    if (Clock::now() >= until) {
      return fail(ErrorCode::timeout,
                  fmt::format("what listens at {} did not answer within {} s: is it a gateway?", place,
                              limit.count() / 1000));
    }
    (void)waiter.wait(fds, until);
  }
  // Notices before the answer stay: they are the session's.
  gateway.buffer_.erase(gateway.buffer_.find(pong), pong.size());
  return gateway;
}

Result<void> GatewayConnection::send_line(std::string_view line) {
  return send_bytes(std::string(line) + '\n');
}

Result<void> GatewayConnection::send_bytes(std::string_view bytes) {
  auto sent = connection_.send(bytes, *waiter_, Clock::now() + limit_);
  if (sent) return sent;
  return fail(sent.error().code, fmt::format("the gateway at {}: {}", place_, sent.error().text));
}

void GatewayConnection::drop_taken() {
  buffer_.erase(0, std::exchange(taken_, 0));
}

Result<void> GatewayConnection::receive() {
  drop_taken();
  const std::size_t before = buffer_.size();
  if (before >= line_bytes_max) {
    return fail(ErrorCode::protocol,
                fmt::format("the gateway at {}: wanted lines of at most {} bytes, got a longer one", place_,
                            line_bytes_max));
  }
  buffer_.resize(before + piece_bytes);
  const auto bytes = connection_.receive(std::span(buffer_).subspan(before));
  buffer_.resize(before + bytes.value_or(0));
  if (bytes) return {};
  return fail(bytes.error().code, fmt::format("the gateway at {}: {}", place_, bytes.error().text));
}

std::optional<std::string_view> GatewayConnection::take_line() {
  // The front is dropped when more is received; till then a line after the other is taken from it.
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
      return fail(ErrorCode::protocol, fmt::format("the gateway at {}: a length that is none", place_));
  }
  if (length > line_bytes_max) {
    return fail(ErrorCode::protocol,
                fmt::format("the gateway at {}: wanted messages of at most {} bytes, got {}", place_,
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
      return fail(ErrorCode::timeout, fmt::format("the gateway at {} does not answer", place_));
    }
    (void)waiter_->wait(fds, until);
  }
}

}  // namespace backplane::cli
