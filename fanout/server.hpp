#pragma once
// Listeners, their sessions, and the loop that serves them.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "core/error/error.hpp"
#include "fanout/session.hpp"

namespace backplane::fanout {

/// Why somebody who connected is sent away.
enum class Refusal : std::uint8_t { connections_in_all, connections_of_address };

/// Makes the protocol's side of each session. Called on the server's thread.
class Acceptor {
 public:
  virtual ~Acceptor() = default;
  virtual std::unique_ptr<Connection> open(Session& session) = 0;
  /// What is said to somebody who is sent away; it may not arrive.
  virtual std::string_view refusal(Refusal why) = 0;
  /// What is said to somebody who connected and sent nothing in first_byte_timeout.
  virtual std::string_view silence() = 0;
};

struct ServerOptions {
  SessionLimits session;
  std::size_t connections_max = 16'384;
  std::size_t connections_per_address_max = 256;    ///< loopback has no such limit
  std::chrono::milliseconds first_byte_timeout{0};  ///< 0: a client may stay silent for ever
  /// How long a session that ends may take to write what is queued and to be closed by its client.
  std::chrono::milliseconds linger{1000};
  /// What the kernel may hold unsent of one session: a stalled client would else pin megabytes there.
  int unsent_bytes_max = 64 << 10;
};

struct ServerCounters {
  std::uint64_t connections{};  ///< now
  std::uint64_t accepted{};
  std::uint64_t refused{};        ///< above a limit
  std::uint64_t accept_errors{};  ///< the kernel would not: out of descriptors or memory
  std::uint64_t silent{};         ///< sent away by first_byte_timeout
};

/// A TCP server that writes shared messages to many sessions. It knows nothing of what they mean.
/// Lives on one thread: its owner's, which turns it by wait() and flush(). Owns its listeners, its
/// sessions and their sockets. What is queued by Session::send() is written by the next flush(), one
/// gathered send a session.
class Server {
 public:
  using Clock = std::chrono::steady_clock;

  /// `acceptor` outlives the server. Throws std::system_error where the kernel refuses an epoll.
  Server(ServerOptions options, Acceptor& acceptor);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  /// Listens on HOST:PORT (port 0 picks a free one; the name is looked up once, blocking).
  /// @returns the address in force, or an error that names the place.
  Result<std::string> listen(std::string_view place);
  /// Whether `address`, as listen() gave it, can be reached from this machine alone.
  [[nodiscard]] static bool is_loopback(std::string_view address);
  /// Has each session say goodbye.
  void say_goodbye(std::string_view reason);
  /// Closes the listeners. Sessions stay. Not from within wait().
  void stop_listening() noexcept;

  /// Calls `on_ready` in wait() while `fd` is readable, until unwatch(). The fd stays its owner's.
  /// Neither is called from within wait().
  void watch(int fd, std::function<void()> on_ready);
  void unwatch(int fd) noexcept;

  /// Waits until something is ready, or `until`, and serves what is: accepts, reads and hands the bytes
  /// to the connections. Writes nothing.
  void wait(Clock::time_point until);
  /// Writes what is queued, and lets go of sessions that are over.
  void flush();

  /// Sessions for which something is still queued. Looks at each.
  [[nodiscard]] std::size_t unsent_sessions() const;
  [[nodiscard]] const ServerCounters& counters() const noexcept;
  [[nodiscard]] const SessionCounters& session_counters() const noexcept;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace backplane::fanout
