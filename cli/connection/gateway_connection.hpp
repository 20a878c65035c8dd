#pragma once
// A client's connection to a gateway, in the line protocol.

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "cli/connection/tcp_connection.hpp"
#include "cli/connection/waiter.hpp"
#include "core/error/error.hpp"

namespace backplane::cli {

/// A connection to a server that has proved to be a gateway. Lives on the main thread; owns its socket. No
/// call blocks longer than the limit given to open().
class GatewayConnection {
 public:
  using Clock = Waiter::Clock;

  /// Connects, and checks with a PING that the server is a gateway. Blocks for `limit` at most.
  /// @param address  HOST:PORT, as parse_host_port() accepts it
  /// @returns an error that names it: unavailable or timeout if a retry may succeed, protocol if the
  ///          server is not a gateway.
  static Result<GatewayConnection> open(const std::string& address, Waiter& waiter,
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

  [[nodiscard]] int fd() const noexcept { return connection_.fd(); }

 private:
  GatewayConnection(TcpConnection connection, std::string address, Waiter& waiter,
                    std::chrono::milliseconds limit)
      : connection_(std::move(connection)), address_(std::move(address)), waiter_(&waiter), limit_(limit) {}
  void drop_taken();

  TcpConnection connection_;
  std::string address_;
  Waiter* waiter_;
  std::chrono::milliseconds limit_;
  std::string buffer_;
  std::size_t taken_{};     // bytes at the front of the buffer that were returned
  std::size_t searched_{};  // bytes at the front of the buffer without a line end
};

}  // namespace backplane::cli
