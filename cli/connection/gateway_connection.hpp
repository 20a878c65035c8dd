#pragma once
// A client's connection to a gateway, in the line protocol.

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "cli/connection/connection.hpp"
#include "cli/connection/gateway_endpoint.hpp"
#include "cli/connection/waiter.hpp"
#include "core/error/error.hpp"

namespace backplane::cli {

/// A connection to a server that has proved to be a gateway, and that knows the client's token. Lives on the
/// main thread; owns its socket. No call except open() blocks longer than the limit given to open().
class GatewayConnection {
 public:
  using Clock = Waiter::Clock;

  /// Connects, checks with a PING that the server is a gateway, and sends the token if there is one. Blocks
  /// for twice `limit` at most.
  /// @returns an error that names the address: unavailable or timeout if a retry may succeed, protocol if the
  ///          server is not a gateway or its certificate is not accepted, invalid_argument if the gateway
  ///          does not accept the token. The token is never part of it.
  static Result<GatewayConnection> open(const GatewayEndpoint& endpoint, Waiter& waiter,
                                        std::chrono::milliseconds limit);

  /// Sends a line. Adds the line end.
  Result<void> send_line(std::string_view line);
  /// Sends bytes as they are.
  Result<void> send_bytes(std::string_view bytes);

  /// Reads what has arrived, without blocking. @returns an error if the connection has ended.
  Result<void> receive();
  /// The next line received, without its line end. It is valid until the next call of any method.
  [[nodiscard]] std::optional<std::string_view> take_line();
  /// The same for a message preceded by its length as a varint, after FORMAT proto. An error if the bytes are
  /// not a length.
  [[nodiscard]] Result<std::optional<std::string_view>> take_message();

  /// Waits for a line until `until`. @returns an error: timeout, or why the connection has ended.
  Result<std::string> wait_line(Clock::time_point until);

  /// Blocks until there may be something to receive, or `until` is reached. It may return early.
  void wait_input(Clock::time_point until) { connection_->wait_input(*waiter_, until); }

 private:
  GatewayConnection(std::unique_ptr<Connection> connection, std::string address, Waiter& waiter,
                    std::chrono::milliseconds limit)
      : connection_(std::move(connection)), address_(std::move(address)), waiter_(&waiter), limit_(limit) {}
  Result<void> recognise(Clock::time_point until);
  Result<void> authenticate(const Token& token, Clock::time_point until);
  std::optional<std::string> take_reply();
  void drop_taken();

  std::unique_ptr<Connection> connection_;
  std::string address_;
  Waiter* waiter_;
  std::chrono::milliseconds limit_;
  std::string buffer_;
  std::size_t taken_{};     // bytes at the front of the buffer that were returned
  std::size_t searched_{};  // bytes at the front of the buffer without a line end
};

/// What the gateway says after `-ERR `, and, if it requires a token, how to give one.
[[nodiscard]] std::string refusal_text(std::string_view refusal);

/// Why the gateway has closed the connection, by the reason after `!BYE `: unavailable, or invalid_argument
/// if a retry will not help.
[[nodiscard]] Error closed_error(const std::string& address, std::string_view reason);

}  // namespace backplane::cli
