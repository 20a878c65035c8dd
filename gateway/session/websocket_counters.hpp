#pragma once
// Counters of WebSocket clients.

#include <atomic>
#include <cstdint>

#include "gateway/encode/websocket_frame.hpp"

namespace backplane::gateway::websocket {

/// The counters at one moment.
struct Counted {
  std::uint64_t begun{};  ///< handshakes that succeeded
  // Connections closed because of what the client sent.
  std::uint64_t against_protocol{};
  std::uint64_t binary{};
  std::uint64_t not_utf8{};
  std::uint64_t too_long{};
};

/// Any thread. All workers of a backplane count here; none of this is frequent.
class Counters {
 public:
  void count_begun() noexcept { ++begun_; }
  void count_fault(CloseCode code) noexcept {
    switch (code) {
      case CloseCode::unsupported:
        ++binary_;
        return;
      case CloseCode::not_utf8:
        ++not_utf8_;
        return;
      case CloseCode::too_large:
        ++too_long_;
        return;
      default:
        ++against_protocol_;
    }
  }
  [[nodiscard]] Counted read() const noexcept {
    return {begun_.load(), against_protocol_.load(), binary_.load(), not_utf8_.load(), too_long_.load()};
  }

 private:
  std::atomic<std::uint64_t> begun_{0};
  std::atomic<std::uint64_t> against_protocol_{0};
  std::atomic<std::uint64_t> binary_{0};
  std::atomic<std::uint64_t> not_utf8_{0};
  std::atomic<std::uint64_t> too_long_{0};
};

}  // namespace backplane::gateway::websocket
