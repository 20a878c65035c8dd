#pragma once
// Why clients were disconnected, and why commands were refused.

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace backplane::gateway {

/// The reasons after `!BYE`, of clients that had been accepted. The last one stands for all others.
inline constexpr std::array<std::string_view, 16> goodbye_reasons{"drain",
                                                                  "slow_consumer",
                                                                  "replies_unread",
                                                                  "silent",
                                                                  "idle",
                                                                  "too_many_commands",
                                                                  "malformed",
                                                                  "message_too_long",
                                                                  "not_http",
                                                                  "no_tls",
                                                                  "revoked",
                                                                  "not_permitted",
                                                                  "too_many_subscriptions",
                                                                  "keep_alive",
                                                                  "taken_over",
                                                                  "other"};
/// The codes after `-ERR` that report a limit, missing permission, or that there is no broker. The last one
/// stands for all others.
inline constexpr std::array<std::string_view, 7> refusal_codes{
    "line_too_long", "too_many_subscriptions", "too_many_values",
    "unavailable",   "not_permitted",          "not_authenticated",
    "other"};

/// The counters at one moment, in the order of the codes above.
struct SessionsCounted {
  std::array<std::uint64_t, goodbye_reasons.size()> goodbyes{};
  std::array<std::uint64_t, refusal_codes.size()> refusals{};
};

/// Any thread. All workers of a backplane count here; the counts are frequent only under attack.
class SessionCounters {
 public:
  void goodbye(std::string_view reason) noexcept { count(goodbyes_, goodbye_reasons, reason); }
  void refusal(std::string_view code) noexcept { count(refusals_, refusal_codes, code); }

  [[nodiscard]] SessionsCounted read() const noexcept {
    SessionsCounted counted;
    for (std::size_t i = 0; i < goodbyes_.size(); ++i) counted.goodbyes[i] = goodbyes_[i].load();
    for (std::size_t i = 0; i < refusals_.size(); ++i) counted.refusals[i] = refusals_[i].load();
    return counted;
  }

 private:
  template <std::size_t n>
  static void count(std::array<std::atomic<std::uint64_t>, n>& counters,
                    const std::array<std::string_view, n>& words, std::string_view word) noexcept {
    const auto found = std::find(words.begin(), words.end() - 1, word);
    counters[static_cast<std::size_t>(found - words.begin())].fetch_add(1, std::memory_order_relaxed);
  }

  std::array<std::atomic<std::uint64_t>, goodbye_reasons.size()> goodbyes_{};
  std::array<std::atomic<std::uint64_t>, refusal_codes.size()> refusals_{};
};

}  // namespace backplane::gateway
