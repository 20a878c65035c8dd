#pragma once
// A TCP connection with time limits.

#include <cstddef>
#include <span>
#include <string_view>

#include "cli/connection/connection.hpp"
#include "core/net/host_port.hpp"
#include "core/process/descriptor.hpp"

namespace backplane::cli {

/// A connected socket, without encryption.
class TcpConnection final : public Connection {
 public:
  /// Resolves the host, and connects to the first of its addresses that accepts. Blocks until `until` at
  /// most.
  /// @returns an error whose text does not name the address: not_found (no such host), unavailable (nothing
  ///          listens) or timeout.
  static Result<TcpConnection> open(const HostPort& place, Waiter& waiter, Clock::time_point until);

  Result<void> send(std::string_view bytes, Waiter& waiter, Clock::time_point until) override;
  Result<std::size_t> receive(std::span<char> into) override;
  void wait_input(Waiter& waiter, Clock::time_point until) override;

  [[nodiscard]] int fd() const noexcept { return socket_.get(); }

 private:
  explicit TcpConnection(Descriptor socket) : socket_(std::move(socket)) {}
  Descriptor socket_;
};

}  // namespace backplane::cli
