#pragma once
// Whether subscriptions are active at the broker.

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace backplane::follower {

/// The prefix of live replies' topics. The nonce follows.
inline constexpr std::string_view live_prefix = "$SYS.live.";

/// Decides when to subscribe to which nonce, and which live reply counts: the one to the newest nonce, on the
/// connection on which it was sent. One nonce is pending at a time. Subscriptions made meanwhile wait for the
/// next nonce, because otherwise a steady flow of them could postpone the reply forever.
/// A silent connection is checked as well. One that stays silent although replies are due has ended, whatever
/// the kernel knows of it: the path may be stalled, or the broker stopped. Pure: no sockets, time is passed
/// in. Belongs to one thread.
class LiveCheck {
 public:
  using Clock = std::chrono::steady_clock;

  /// A connection from which nothing has arrived for this long is checked with a nonce.
  static constexpr std::chrono::seconds silence_max{2};
  /// A connection has ended if nothing arrives for this long after a nonce.
  static constexpr std::chrono::seconds patience{6};

  /// @param retry   timeout of a live reply, after which another nonce is tried
  /// @param random  returns each nonce, never the same one twice
  LiveCheck(std::chrono::milliseconds retry, std::function<std::uint64_t()> random);

  /// Something was subscribed to: `ticket` needs a confirmation. Tickets only grow.
  void require(std::uint64_t ticket) noexcept { last_ticket_ = ticket; }
  /// The connection is up, with nothing confirmed on it.
  void on_connected(Clock::time_point now);
  void on_disconnected();
  /// Something has arrived. Call it before step(), if it is so.
  void on_received(Clock::time_point now);
  /// Whether the connection must be replaced: nothing has arrived although a reply is due.
  [[nodiscard]] bool is_dead(Clock::time_point now) const noexcept;

  /// Topics to unsubscribe from and then to subscribe to. "": none.
  struct Step {
    std::string unsubscribe;
    std::string subscribe;
  };
  [[nodiscard]] std::optional<Step> step(Clock::time_point now);
  /// When step() may return something, or is_dead() change. min(): now. max(): not before another call.
  [[nodiscard]] Clock::time_point next_deadline() const noexcept;

  /// What a live reply confirms.
  struct Confirmation {
    std::uint64_t ticket{};  ///< all subscriptions up to this ticket are active
    bool first{};            ///< on this connection
  };
  /// An event on a topic that begins with live_prefix has arrived. @returns nothing if it does not count.
  [[nodiscard]] std::optional<Confirmation> on_reply(std::string_view topic);

 private:
  [[nodiscard]] bool needs_check(Clock::time_point now) const noexcept;

  std::chrono::milliseconds retry_;
  std::function<std::uint64_t()> random_;
  bool connected_{};
  bool confirmed_{};  // on this connection
  std::uint64_t last_ticket_{};
  std::uint64_t confirmed_ticket_{};
  std::uint64_t nonce_ticket_{};
  std::string nonce_topic_;  // the pending topic; "": none
  std::string stale_topic_;  // still subscribed to, but its reply no longer counts
  Clock::time_point retry_at_{};
  Clock::time_point received_at_{};                    // or when the connection came up
  std::optional<Clock::time_point> unanswered_since_;  // the first nonce since then
};

}  // namespace backplane::follower
