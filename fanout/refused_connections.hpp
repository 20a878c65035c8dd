#pragma once
// Connections that are refused, until they have read why.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <string>
#include <string_view>
#include <utility>

#include "core/process/descriptor.hpp"

namespace backplane::fanout {

/// The limit that a refused connection would exceed.
enum class Refusal : std::uint8_t {
  connection_limit,  ///< of all connections
  address_limit,     ///< of those from one address
  descriptor_limit,  ///< of open files: the rest is for the program itself
};

/// A connection that is refused, as far as it has arrived.
struct Refused {
  Refusal why{};
  std::size_t listener{};  ///< Listener::index
  std::string_view begun;  ///< its first bytes
  bool last{};             ///< no more of them are waited for
};

/// Answers refused connections in their own protocol, which their first bytes show, and closes them. A
/// connection is not closed before its peer has closed, at most a second later: closing it with unread bytes
/// would destroy the answer. Lives on its owner's thread. Keeps at most `connections_max`, at least 1; for
/// another one, the oldest is closed early.
class RefusedConnections {
 public:
  using Clock = std::chrono::steady_clock;
  /// @returns the last bytes for the connection, or none if more of its bytes are needed to decide.
  using Answer = std::function<std::string(const Refused&)>;

  /// Adds the connections to `epoll`, which becomes readable when turn() has work.
  RefusedConnections(int epoll, std::size_t connections_max, Answer answer)
      : epoll_(epoll), connections_max_(connections_max), answer_(std::move(answer)) {}

  void add(Descriptor socket, Refusal why, std::size_t listener, Clock::time_point now);
  /// Reads, answers and closes.
  void turn(Clock::time_point now);
  void close_all() noexcept { connections_.clear(); }
  [[nodiscard]] Clock::time_point next_deadline() const noexcept;

 private:
  struct Connection {
    Descriptor socket;
    Refusal why{};
    std::size_t listener{};
    Clock::time_point until;
    std::string begun;
    bool answered{};
  };

  /// @returns whether the connection is over.
  bool read(Connection& connection) const;
  bool step(Connection& connection, Clock::time_point now, bool last) const;

  const int epoll_;
  const std::size_t connections_max_;
  const Answer answer_;
  std::list<Connection> connections_;  // oldest first
};

}  // namespace backplane::fanout
