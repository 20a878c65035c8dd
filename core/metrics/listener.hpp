#pragma once
// A small HTTP server for metrics and health checks.

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "core/error/error.hpp"

namespace backplane::metrics {

/// Checks that `address` is HOST:PORT with IPv6 in brackets. `where` begins the error.
[[nodiscard]] Result<void> check_address(std::string_view address, std::string_view where);

/// Serves GET and HEAD of /metrics, /healthz (200 while the process serves) and /readyz (200, or 503 with the
/// reason). Owns its sockets and a thread, on which it calls back. Slow, silent or hostile clients cost a
/// bounded number of connections, bytes and seconds, and do not delay other clients.
class MetricsListener {
 public:
  /// Called on the listener's thread, until the listener is destroyed. If one throws, the client gets a 500.
  struct Pages {
    std::function<std::string()> metrics;        ///< Prometheus' text
    std::function<std::string()> why_not_ready;  ///< empty: ready
    std::string ready_note{};                    ///< a further line of /readyz; empty: none
  };
  struct Limits {
    /// Above it, the connection that has been idle longest is closed for the new one.
    std::size_t connections_max = 256;
    std::chrono::milliseconds idle_max{
        10'000};  ///< from one response to the end of the next request's header
    std::size_t header_bytes_max = 8u << 10;
  };

  /// Binds `address`, HOST:PORT with IPv6 in brackets, and serves from then on. Port 0 picks a free port.
  /// `localhost` means both loopback addresses; without IPv6, 127.0.0.1 alone.
  /// @returns an error such as `cannot listen on 127.0.0.1:9570: Address already in use`.
  static Result<std::unique_ptr<MetricsListener>> open(std::string_view address, Pages pages);
  static Result<std::unique_ptr<MetricsListener>> open(std::string_view address, Pages pages, Limits limits);

  /// Stops at once, after waiting for a page that is being made; closes open connections.
  ~MetricsListener();
  MetricsListener(const MetricsListener&) = delete;
  MetricsListener& operator=(const MetricsListener&) = delete;

  /// The bound address, for example 127.0.0.1:9570.
  [[nodiscard]] const std::string& address() const noexcept { return address_; }

 private:
  class Impl;
  MetricsListener(std::unique_ptr<Impl> impl, std::string address);
  std::unique_ptr<Impl> impl_;
  std::string address_;
};

}  // namespace backplane::metrics
