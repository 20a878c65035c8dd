#pragma once
// How large a reply to request from a broker.

#include <array>
#include <chrono>
#include <cstddef>

namespace backplane::follower {

/// Chooses the size of the replies on one connection by how fast the last ones came. libzmq shows a reply
/// when it is complete, so one that takes long looks like none. The first ones are small; after each one that
/// came quickly, the next may be twice as large. A path is measured by replies, because its rate can change
/// at any time. Pure: time is passed in.
class ReplySize {
 public:
  using Clock = std::chrono::steady_clock;

  static constexpr std::size_t least = 1u << 10;
  static constexpr std::size_t first = 4u << 10;  ///< 0.4 s at 10 KB/s
  static constexpr std::size_t most = 256u << 10;
  /// What a reply may take beyond the path's latency.
  static constexpr std::chrono::milliseconds target{250};
  /// After this time without a reply of about the requested size, the path is unknown again.
  static constexpr std::chrono::seconds valid{5};

  /// The size to request now, in bytes.
  [[nodiscard]] std::size_t next(Clock::time_point now);

  struct Measured {
    std::size_t requested{};
    std::size_t bytes{};
    Clock::duration waited{};  ///< since the request was sent, or the reply before arrived
    bool alone{};              ///< no other request was in flight when it was sent
  };
  void on_reply(const Measured& reply, Clock::time_point now);
  /// Nothing is known of the path: a new connection, or nothing has arrived for too long.
  void reset() noexcept { *this = {}; }

 private:
  [[nodiscard]] Clock::duration latency() const;

  std::size_t size_{first};
  Clock::time_point measured_{};
  // Of the last requests that were alone. One that comes behind another reply shows no latency.
  std::array<Clock::duration, 8> waits_{};
  std::size_t waits_count_{};
};

}  // namespace backplane::follower
