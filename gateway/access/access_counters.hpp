#pragma once
// Counters of decisions about clients.

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace backplane::gateway {

/// What a client requests permission for.
enum class Action : std::uint8_t { subscribe, publish, list, status };
inline constexpr std::array<std::string_view, 4> action_names{"subscribe", "publish", "list", "status"};

/// The result of a client's credentials.
enum class AuthenticationResult : std::uint8_t {
  accepted,
  wrong,      ///< no user has them
  throttled,  ///< not verified: too many wrong tokens came from the address
  busy,       ///< not verified: too many tokens wait to be verified
};
inline constexpr std::array<std::string_view, 4> authentication_names{"accepted", "wrong", "throttled",
                                                                      "busy"};

/// The counters at one moment, in the order of the names above.
struct AccessCounted {
  std::array<std::uint64_t, action_names.size()> permitted{};
  std::array<std::uint64_t, action_names.size()> not_permitted{};
  std::array<std::uint64_t, authentication_names.size()> authentications{};
  std::uint64_t revoked{};  ///< clients disconnected because their rights ended
};

/// Any thread may count and read.
class AccessCounters {
 public:
  void decision(Action action, bool permitted) noexcept {
    (permitted ? permitted_ : not_permitted_)[static_cast<std::size_t>(action)].fetch_add(
        1, std::memory_order_relaxed);
  }
  void authentication(AuthenticationResult result) noexcept {
    authentications_[static_cast<std::size_t>(result)].fetch_add(1, std::memory_order_relaxed);
  }
  void revoked() noexcept { revoked_.fetch_add(1, std::memory_order_relaxed); }

  [[nodiscard]] AccessCounted read() const noexcept {
    AccessCounted counted;
    for (std::size_t i = 0; i < permitted_.size(); ++i) counted.permitted[i] = permitted_[i].load();
    for (std::size_t i = 0; i < not_permitted_.size(); ++i) {
      counted.not_permitted[i] = not_permitted_[i].load();
    }
    for (std::size_t i = 0; i < authentications_.size(); ++i) {
      counted.authentications[i] = authentications_[i].load();
    }
    counted.revoked = revoked_.load();
    return counted;
  }

 private:
  std::array<std::atomic<std::uint64_t>, action_names.size()> permitted_{};
  std::array<std::atomic<std::uint64_t>, action_names.size()> not_permitted_{};
  std::array<std::atomic<std::uint64_t>, authentication_names.size()> authentications_{};
  std::atomic<std::uint64_t> revoked_{0};
};

}  // namespace backplane::gateway
