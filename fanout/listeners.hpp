#pragma once
// Listening sockets, and limits for connections.

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/error/error.hpp"
#include "core/log/log.hpp"
#include "core/process/descriptor.hpp"
#include "fanout/address.hpp"
#include "fanout/log/ids.hpp"
#include "fanout/refused_connections.hpp"

namespace backplane::fanout {

struct ListenersOptions {
  std::size_t connections_max = 16'384;
  std::size_t connections_per_address_max = 256;  ///< of IPv6, per network of 64 bits
  bool loopback_is_exempt = true;                 ///< no limit per address for connections from this machine
  /// A connection whose descriptor is this one or a higher one is refused. The kernel assigns the lowest that
  /// is free: clients together never occupy the descriptors from here on, which the program itself needs.
  int descriptors_max = std::numeric_limits<int>::max();
  std::size_t refused_max = 16;  ///< refused connections that have not read the answer yet
};

struct ListenersCounters {
  std::uint64_t connections{};  ///< open now
  std::uint64_t accepted{};
  std::uint64_t refused_connection_limit{};  ///< above connections_max
  std::uint64_t refused_address_limit{};     ///< above connections_per_address_max
  std::uint64_t refused_descriptor_limit{};  ///< above descriptors_max
  std::uint64_t accept_errors{};             ///< the kernel was out of descriptors or memory
};

/// A listening socket.
struct Listener {
  std::size_t index{};  ///< 0, 1, 2, … in the order of listen()
  std::string address;  ///< as bound: `127.0.0.1:1601`, `[::1]:1601`
  bool loopback{};      ///< only this machine can reach it
};

/// An accepted connection. The socket does not block and has no Nagle delay.
struct Accepted {
  Descriptor socket;
  Address peer;
  std::size_t listener{};  ///< Listener::index
};

/// Listening sockets, and the number of connections that were accepted and are still open. Lives on its
/// owner's thread, which calls accept() when fd() is readable or next_deadline() has passed. Owns the
/// listening sockets. Only listen() blocks.
class Listeners {
 public:
  using Clock = std::chrono::steady_clock;
  /// Takes over a connection, for example by Engine::adopt(). @returns the client, for on_client_closed().
  using Admit = std::function<ClientId(Accepted)>;
  /// The bytes to send before a refused connection is closed. They may not arrive.
  using Refuse = RefusedConnections::Answer;

  /// Throws std::system_error if the kernel refuses an epoll.
  Listeners(ListenersOptions options, Admit admit, Refuse refuse);
  ~Listeners();
  Listeners(const Listeners&) = delete;
  Listeners& operator=(const Listeners&) = delete;

  /// Listens on HOST:PORT. Port 0 picks a free one. The name is looked up once, which may block. `localhost`
  /// means both loopback addresses, of which the listener names 127.0.0.1; without IPv6, it is the only one.
  /// @returns the listener, or an error that names the address.
  Result<Listener> listen(std::string_view address);
  /// Closes all listening sockets; connections stay open.
  void stop() noexcept;

  /// Readable while a connection waits. To be polled, not read.
  [[nodiscard]] int fd() const noexcept { return epoll_.get(); }
  /// When accept() is due although fd() is not readable, because the kernel was out of descriptors or memory,
  /// or because a refused connection sends nothing. Otherwise time_point::max().
  [[nodiscard]] Clock::time_point next_deadline() const noexcept {
    return std::min(listen_again_, refused_.next_deadline());
  }
  /// Admits or refuses connections that wait, at most 64 per listening socket, so that a flood of connections
  /// does not starve the rest of the thread's work.
  void accept(Clock::time_point now);
  /// An admitted client is closed: see Engine::take_closed_clients(). Other clients are ignored.
  void on_client_closed(ClientId client) noexcept;

  [[nodiscard]] const ListenersCounters& counters() const noexcept { return counters_; }

 private:
  using HostKey = std::array<std::uint8_t, 16>;

  Result<Listener> listen_localhost(std::uint16_t port, std::string_view address);
  Result<Listener> listen_on(const Address& at);
  bool accept_one(std::size_t from, Clock::time_point now);
  [[nodiscard]] std::optional<Refusal> limit_reached(const Descriptor& socket, const Address& peer) const;
  void refuse(Descriptor socket, Refusal why, std::size_t listener, Clock::time_point now);
  void pause(bool paused) noexcept;

  const ListenersOptions options_;
  const Admit admit_;
  Descriptor epoll_;
  RefusedConnections refused_;
  std::vector<Descriptor> sockets_;
  std::vector<std::size_t> listener_of_;  // the listener's index of each socket
  std::unordered_map<ClientId, HostKey> hosts_;
  std::map<HostKey, std::size_t> clients_of_host_;
  ListenersCounters counters_;
  Clock::time_point listen_again_{Clock::time_point::max()};
  log::RateLimit accept_log_{std::chrono::seconds{10}};
  log::RateLimit descriptor_log_{std::chrono::seconds{10}};
};

}  // namespace backplane::fanout
