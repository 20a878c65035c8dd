#pragma once
// Whether what we subscribed to is in force at the broker.

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace backplane::follower {

/// Topics of live answers begin so; what follows is the nonce.
inline constexpr std::string_view live_prefix = "$SYS.live.";

/// Decides when to subscribe to which nonce, and which answer counts: one to the newest nonce, asked on
/// the connection that still stands. One nonce is out at a time; what is subscribed to meanwhile waits
/// for the next, so that a steady flow of subscriptions cannot put off the answer for ever.
/// Pure: no sockets, time is passed in. Belongs to one thread.
class LiveCheck {
 public:
  using Clock = std::chrono::steady_clock;

  /// @param retry   how long to wait for an answer before another nonce is tried
  /// @param random  gives each nonce; never the same twice
  LiveCheck(std::chrono::milliseconds retry, std::function<std::uint64_t()> random);

  /// Something was subscribed to: `ticket` is to be proven. Tickets only grow.
  void require(std::uint64_t ticket) noexcept { last_ticket_ = ticket; }
  /// A connection stands, with nothing proven on it.
  void on_connected();
  void on_disconnected();

  /// Which subscriptions to change now: first end `unsubscribe`, then begin `subscribe`; empty is none.
  struct Step {
    std::string unsubscribe;
    std::string subscribe;
  };
  [[nodiscard]] std::optional<Step> step(Clock::time_point now);
  /// When step() may have something; time_point::min() is now, max() never (but for another call).
  [[nodiscard]] Clock::time_point next_deadline() const noexcept;

  /// What an answer proves.
  struct Confirmation {
    std::uint64_t ticket{};  ///< all up to this one is in force
    bool first{};            ///< on this connection
  };
  /// An event on a topic that begins with live_prefix has come. @returns nothing where it does not count.
  [[nodiscard]] std::optional<Confirmation> on_reply(std::string_view topic);

 private:
  std::chrono::milliseconds retry_;
  std::function<std::uint64_t()> random_;
  bool connected_{};
  bool confirmed_{};  // something, on this connection
  std::uint64_t last_ticket_{};
  std::uint64_t confirmed_ticket_{};
  std::uint64_t nonce_ticket_{};
  std::string nonce_topic_;  // the topic that is out; empty: none
  std::string stale_topic_;  // a topic still subscribed to whose answer no longer counts
  Clock::time_point retry_at_{};
};

}  // namespace backplane::follower
