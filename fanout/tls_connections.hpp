#pragma once
// What the TLS connections of one worker share.

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/log/log.hpp"
#include "fanout/counter.hpp"
#include "fanout/log/ids.hpp"
#include "fanout/timer_wheel.hpp"
#include "fanout/tls/context.hpp"

namespace backplane::fanout {

class TlsStream;

struct TlsOptions {
  std::shared_ptr<const TlsContext> context{};  ///< nullptr: no client uses TLS
  /// Whether clients without TLS are refused. Otherwise a client's first byte decides, or its silence while
  /// there is something to write to it.
  bool required = true;
  /// Handshakes in progress, of one worker. For another one, the oldest is ended.
  std::size_t handshakes_max = 256;
  /// From the connection, or from its first byte if TLS is not required, to the end of the handshake.
  std::chrono::milliseconds handshake_timeout{10'000};
  /// The last bytes for a client without TLS, which has sent `begun` so far; none if more of its bytes are
  /// needed to decide. `last`: no more of them are waited for. Called on workers' threads.
  std::function<std::string(std::string_view begun, bool last)> refuse_plaintext{};
};

/// Why handshakes failed.
enum class TlsFailure : std::uint8_t {
  timed_out,
  too_many,            ///< TlsOptions::handshakes_max
  closed,              ///< the client closed the connection
  version,             ///< no common version or cipher
  client_certificate,  ///< the client's certificate is not valid
  rejected,            ///< the client sent an alert: it does not accept the server's certificate, for example
  protocol,            ///< the client sent something else
};
inline constexpr std::array<std::string_view, 7> tls_failure_names{
    "timed_out", "too_many", "closed", "version", "client_certificate", "rejected", "protocol"};

/// Counters of all workers.
struct TlsCounters {
  std::uint64_t handshakes{};  ///< completed
  std::array<std::uint64_t, tls_failure_names.size()> failures{};
  std::uint64_t plaintext_refused{};
  std::uint64_t connections{};  ///< now, after their handshakes
};

/// The limits of handshakes, the counters, and memory that connections use in turn. Lives on its worker's
/// thread, except counters().
///
/// A handshake takes up to a millisecond of CPU time. In each turn of the worker, handshakes have a budget;
/// the rest of them continue in the next turn, after the worker has written to its clients.
class TlsConnections {
 public:
  using Clock = TimerWheel::Clock;
  using Handshakes = std::list<TlsStream*>;

  /// `timers` outlives it.
  TlsConnections(TlsOptions options, TimerWheel& timers) : options_(std::move(options)), timers_(timers) {}

  [[nodiscard]] const TlsOptions& options() const noexcept { return options_; }
  [[nodiscard]] TimerWheel& timers() noexcept { return timers_; }
  /// The context of new connections.
  [[nodiscard]] const std::shared_ptr<const TlsContext>& context() const noexcept { return options_.context; }
  void set_context(std::shared_ptr<const TlsContext> context) { options_.context = std::move(context); }

  /// Any thread. Adds the counts to `sum`.
  void add_counters(TlsCounters& sum) const noexcept;

  // For the worker.

  /// Begins a turn, with a new budget.
  void begin_turn() noexcept { spent_ = {}; }
  /// Whether some connections have yet to continue their handshakes.
  [[nodiscard]] bool has_deferred() const noexcept { return !deferred_.empty(); }
  /// The next of them, as long as the budget lasts.
  [[nodiscard]] std::optional<ClientId> next_deferred();

  // For connections.

  /// Ends the oldest handshake if there are too many.
  [[nodiscard]] Handshakes::iterator begin_handshake(TlsStream& stream);
  void end_handshake(Handshakes::iterator handshake) { handshakes_.erase(handshake); }
  [[nodiscard]] bool may_continue() const noexcept { return spent_ < turn_budget; }
  void spend(Clock::duration time) noexcept { spent_ += time; }
  void defer(ClientId client) { deferred_.push_back(client); }

  void count_handshake() noexcept { handshakes_done_.add(1); }
  void count_connection(bool open) noexcept { open ? connections_.add(1) : connections_.subtract(1); }
  void count_plaintext_refused() noexcept { plaintext_refused_.add(1); }
  /// Counts a failure, and logs it.
  /// @param socket the connection's
  /// @param detail what OpenSSL says about it, or empty
  void count_failure(TlsFailure reason, int socket, std::string_view detail);

  /// Encrypted bytes of the connection whose turn it is. Empty between two calls of a connection.
  [[nodiscard]] std::vector<char>& output() noexcept { return output_; }

 private:
  static constexpr std::chrono::microseconds turn_budget{1000};

  TlsOptions options_;
  TimerWheel& timers_;
  Handshakes handshakes_;  ///< in progress, oldest first
  std::deque<ClientId> deferred_;
  Clock::duration spent_{};
  std::vector<char> output_;
  Counter handshakes_done_;
  Counter connections_;
  Counter plaintext_refused_;
  std::array<Counter, tls_failure_names.size()> failures_;
  log::RateLimit failure_log_{std::chrono::seconds{10}};
};

}  // namespace backplane::fanout
