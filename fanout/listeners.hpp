#pragma once
// Where clients come in.

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/error/error.hpp"
#include "core/log/log.hpp"
#include "core/process/descriptor.hpp"
#include "fanout/address.hpp"
#include "fanout/log/ids.hpp"

namespace backplane::fanout {

/// Why somebody who connected is sent away.
enum class Refusal : std::uint8_t { connection_limit, address_limit };

struct ListenersOptions {
  std::size_t connections_max = 16'384;
  std::size_t connections_per_address_max = 256;
  bool loopback_is_exempt = true;  ///< it has no such limit
};

struct ListenersCounters {
  std::uint64_t connections{};  ///< now
  std::uint64_t accepted{};
  std::uint64_t refused_connection_limit{};  ///< above the limit of them all
  std::uint64_t refused_address_limit{};     ///< above that of one address
  std::uint64_t accept_errors{};             ///< the kernel would not: out of descriptors or memory
};

/// A place that is listened on.
struct Listener {
  std::size_t index{};  ///< 0, 1, 2, … in the order of listen()
  std::string address;  ///< in force: `127.0.0.1:1601`, `[::1]:1601`
  bool loopback{};      ///< it can be reached from this machine alone
};

/// Somebody who has connected: a non-blocking socket without Nagle's delay.
struct Accepted {
  Descriptor socket;
  Address peer;
  std::size_t listener{};  ///< Listener::index
};

/// Sockets that listen, and how many have come in by them. Lives on one thread, its owner's, which calls
/// accept() when fd() is readable or next_deadline() is past. Owns the listening sockets; nothing blocks
/// but listen().
class Listeners {
 public:
  using Clock = std::chrono::steady_clock;
  /// Hands somebody over: Engine::adopt(), for one. @returns the number to give to on_client_closed().
  using Admit = std::function<ClientId(Accepted)>;
  /// What is said to somebody who is sent away; it may not arrive.
  using Refuse = std::function<std::string_view(Refusal)>;

  /// Throws std::system_error where the kernel refuses an epoll.
  Listeners(ListenersOptions options, Admit admit, Refuse refuse);
  ~Listeners();
  Listeners(const Listeners&) = delete;
  Listeners& operator=(const Listeners&) = delete;

  /// Listens on HOST:PORT (port 0 picks a free one; the name is looked up once, blocking).
  /// @returns the place, or an error that names it.
  Result<Listener> listen(std::string_view address);
  /// Closes all places; whoever is in stays.
  void stop() noexcept;

  /// Readable while somebody waits. To be watched, not read.
  [[nodiscard]] int fd() const noexcept { return epoll_.get(); }
  /// Out of descriptors or memory, nothing is accepted until then; else time_point::max().
  [[nodiscard]] Clock::time_point next_deadline() const noexcept { return listen_again_; }
  /// Admits or refuses those who wait, at most some of each place: a flood of connects starves nobody.
  void accept(Clock::time_point now);
  /// A client that was admitted is over: see Engine::take_closed_clients(). Others are ignored.
  void on_client_closed(ClientId client) noexcept;

  [[nodiscard]] const ListenersCounters& counters() const noexcept { return counters_; }

 private:
  using HostKey = std::array<std::uint8_t, 16>;

  bool accept_one(std::size_t listener, Clock::time_point now);
  void refuse(Descriptor socket, Refusal why);
  void pause(bool paused) noexcept;

  const ListenersOptions options_;
  const Admit admit_;
  const Refuse refuse_;
  Descriptor epoll_;
  std::vector<Descriptor> sockets_;
  std::unordered_map<ClientId, HostKey> hosts_;
  std::map<HostKey, std::size_t> clients_of_host_;
  ListenersCounters counters_;
  Clock::time_point listen_again_{Clock::time_point::max()};
  log::RateLimit accept_log_{std::chrono::seconds{10}};
};

}  // namespace backplane::fanout
