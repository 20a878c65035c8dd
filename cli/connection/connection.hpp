#pragma once
// Bytes to and from a server.

#include <chrono>
#include <cstddef>
#include <span>
#include <string_view>

#include "cli/connection/waiter.hpp"
#include "core/error/error.hpp"

namespace backplane::cli {

/// An open connection. Calls that block have a deadline, and end when the waiter is stopped. Lives on the
/// main thread; owns its socket.
class Connection {
 public:
  using Clock = Waiter::Clock;

  virtual ~Connection() = default;
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  /// Sends all bytes. Blocks until `until` at most. @returns an error: timeout, or io if the peer closed.
  /// After an error, nothing more can be sent.
  virtual Result<void> send(std::string_view bytes, Waiter& waiter, Clock::time_point until) = 0;

  /// Reads what has arrived, without blocking. @returns 0 for nothing yet; at the end, an error: unavailable,
  /// or protocol if the peer says why.
  virtual Result<std::size_t> receive(std::span<char> into) = 0;

  /// Blocks until there may be something to receive, or `until` is reached. It may return early.
  virtual void wait_input(Waiter& waiter, Clock::time_point until) = 0;

 protected:
  Connection() = default;
  Connection(Connection&&) = default;
  Connection& operator=(Connection&&) = default;
};

}  // namespace backplane::cli
