#pragma once
// Counters of HTTP clients.

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "gateway/protocols/http/message.hpp"

namespace backplane::gateway::http {

/// The counters at one moment.
struct Counted {
  std::array<std::uint64_t, 5> responses{};  ///< by the first digit of the status, 1 to 5
  std::array<std::uint64_t, refusal_count> refused{};
  std::uint64_t sse_clients{};  ///< now
};

/// Any thread may count and read.
class Counters {
 public:
  void response(int status) noexcept {
    responses_[static_cast<std::size_t>(status / 100 - 1)].fetch_add(1, std::memory_order_relaxed);
  }
  void refused(Refusal why) noexcept {
    refused_[static_cast<std::size_t>(why)].fetch_add(1, std::memory_order_relaxed);
  }
  void sse_begins() noexcept { sse_clients_.fetch_add(1, std::memory_order_relaxed); }
  void sse_ends() noexcept { sse_clients_.fetch_sub(1, std::memory_order_relaxed); }

  [[nodiscard]] Counted read() const noexcept {
    Counted counted;
    for (std::size_t i = 0; i < responses_.size(); ++i) counted.responses[i] = responses_[i].load();
    for (std::size_t i = 0; i < refused_.size(); ++i) counted.refused[i] = refused_[i].load();
    counted.sse_clients = sse_clients_.load();
    return counted;
  }

 private:
  std::array<std::atomic<std::uint64_t>, 5> responses_{};
  std::array<std::atomic<std::uint64_t>, refusal_count> refused_{};
  std::atomic<std::uint64_t> sse_clients_{0};
};

}  // namespace backplane::gateway::http
