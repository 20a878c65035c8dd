#pragma once
// A client's side of a gateway's line protocol.

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "cli/connection/tcp_connection.hpp"
#include "cli/connection/waiter.hpp"
#include "core/error/error.hpp"

namespace backplane::cli {

/// One connection to what was found to be a gateway. Lives on the main thread; owns its socket. Nothing
/// blocks for longer than the limit given at its opening.
class GatewayConnection {
 public:
  using Clock = Waiter::Clock;

  /// Connects, and makes sure by a PING that a gateway listens there. Blocks for `limit` at most.
  /// @param place  HOST:PORT, as parse_host_port() takes it
  /// @returns unavailable or timeout where trying again may help, protocol where something else listens
  ///          there; the text names the place.
  static Result<GatewayConnection> open(const std::string& place, Waiter& waiter,
                                        std::chrono::milliseconds limit);

  /// Sends a line; its end is added here.
  Result<void> send_line(std::string_view line);
  /// Sends bytes as they are.
  Result<void> send_bytes(std::string_view bytes);

  /// Takes in what has come, without waiting. @returns an error where the connection is over.
  Result<void> receive();
  /// The next line that is here, without its end; it holds until the next call of anything.
  [[nodiscard]] std::optional<std::string_view> take_line();
  /// The same for a message behind its length in bytes, a varint: after FORMAT proto. An error where there
  /// can be none.
  [[nodiscard]] Result<std::optional<std::string_view>> take_message();

  /// Waits for a line until `until`. @returns timeout, or why the connection is over.
  Result<std::string> wait_line(Clock::time_point until);

  [[nodiscard]] int fd() const noexcept { return connection_.fd(); }

 private:
  GatewayConnection(TcpConnection connection, std::string place, Waiter& waiter,
                    std::chrono::milliseconds limit)
      : connection_(std::move(connection)), place_(std::move(place)), waiter_(&waiter), limit_(limit) {}
  void drop_taken();

  TcpConnection connection_;
  std::string place_;
  Waiter* waiter_;
  std::chrono::milliseconds limit_;
  std::string buffer_;
  std::size_t taken_{};     // bytes at the front of the buffer that were given out
  std::size_t searched_{};  // bytes in which there is no line end
};

}  // namespace backplane::cli
