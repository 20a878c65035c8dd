#pragma once
// The small HTTP server that shows operators how a program is.

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "core/error/error.hpp"

namespace backplane::metrics {

/// Whether `address` is HOST:PORT with IPv6 in brackets. `where` begins the error.
[[nodiscard]] Result<void> check_address(std::string_view address, std::string_view where);

/// Serves GET and HEAD of /metrics, /healthz (200 while the process serves) and /readyz (200, or 503 with the
/// reason). Owns its sockets and a thread, on which it calls back. Slow, silent or hostile peers cost a
/// bounded number of connections, bytes and seconds, and nobody else's answers.
class MetricsListener {
 public:
  /// Called on the listener's thread, until the listener is gone. One that throws makes a 500.
  struct Pages {
    std::function<std::string()> metrics;        ///< Prometheus' text
    std::function<std::string()> why_not_ready;  ///< empty: ready
  };
  struct Limits {
    /// Above it, whoever has waited longest without asking anything is closed for the newcomer.
    std::size_t connections_max = 256;
    std::chrono::milliseconds idle_max{10'000};  ///< from one answer to the end of the next request's header
    std::size_t header_bytes_max = 8u << 10;
  };

  /// Binds `address`, HOST:PORT with IPv6 in brackets, and serves from now on. Port 0 takes a free one.
  /// @returns an error such as `cannot listen on 127.0.0.1:9570: Address already in use`.
  static Result<std::unique_ptr<MetricsListener>> open(std::string_view address, Pages pages);
  static Result<std::unique_ptr<MetricsListener>> open(std::string_view address, Pages pages, Limits limits);

  /// Stops at once (a page under way is waited for); open connections are closed.
  ~MetricsListener();
  MetricsListener(const MetricsListener&) = delete;
  MetricsListener& operator=(const MetricsListener&) = delete;

  /// What is bound, for example 127.0.0.1:9570.
  [[nodiscard]] const std::string& address() const noexcept { return address_; }

 private:
  class Impl;
  MetricsListener(std::unique_ptr<Impl> impl, std::string address);
  std::unique_ptr<Impl> impl_;
  std::string address_;
};

}  // namespace backplane::metrics
