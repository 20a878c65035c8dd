#pragma once
// A TCP connection to somebody who may be slow, somebody else, or not there.

#include <chrono>
#include <cstddef>
#include <span>
#include <string_view>

#include "cli/connection/waiter.hpp"
#include "core/error/error.hpp"
#include "core/net/host_port.hpp"
#include "core/process/descriptor.hpp"

namespace backplane::cli {

/// A connected socket. Every call has a time limit and can be ended through the waiter. Lives on the main
/// thread; owns its descriptor.
class TcpConnection {
 public:
  using Clock = Waiter::Clock;

  /// Looks the host up and connects to the first of its addresses that takes us. Blocks until `until` at
  /// most.
  /// @returns not_found (no such host), unavailable (nobody listens) or timeout, as a text without the place.
  static Result<TcpConnection> open(const HostPort& place, Waiter& waiter, Clock::time_point until);

  /// Sends all of it. Blocks until `until` at most. @returns timeout, or io where the other side has gone.
  Result<void> send(std::string_view bytes, Waiter& waiter, Clock::time_point until);

  /// What has come by now, without waiting. @returns 0 for nothing yet; an error (unavailable) at the end.
  Result<std::size_t> receive(std::span<char> into);

  [[nodiscard]] int fd() const noexcept { return socket_.get(); }

 private:
  explicit TcpConnection(Descriptor socket) : socket_(std::move(socket)) {}
  Descriptor socket_;
};

}  // namespace backplane::cli
