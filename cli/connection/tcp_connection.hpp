#pragma once
// A TCP connection with time limits.

#include <chrono>
#include <cstddef>
#include <span>
#include <string_view>

#include "cli/connection/waiter.hpp"
#include "core/error/error.hpp"
#include "core/net/host_port.hpp"
#include "core/process/descriptor.hpp"

namespace backplane::cli {

/// A connected socket. Calls that block have a deadline, and end when the waiter is stopped. Lives on the
/// main thread; owns its descriptor.
class TcpConnection {
 public:
  using Clock = Waiter::Clock;

  /// Resolves the host, and connects to the first of its addresses that accepts. Blocks until `until` at
  /// most.
  /// @returns an error whose text does not name the address: not_found (no such host), unavailable (nothing
  ///          listens) or timeout.
  static Result<TcpConnection> open(const HostPort& place, Waiter& waiter, Clock::time_point until);

  /// Sends all bytes. Blocks until `until` at most. @returns an error: timeout, or io if the peer closed.
  Result<void> send(std::string_view bytes, Waiter& waiter, Clock::time_point until);

  /// Reads what has arrived, without blocking. @returns 0 for nothing yet; an error (unavailable) at the end.
  Result<std::size_t> receive(std::span<char> into);

  [[nodiscard]] int fd() const noexcept { return socket_.get(); }

 private:
  explicit TcpConnection(Descriptor socket) : socket_(std::move(socket)) {}
  Descriptor socket_;
};

}  // namespace backplane::cli
