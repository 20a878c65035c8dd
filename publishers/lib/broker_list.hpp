#pragma once
// Which broker of its list a publisher uses.

#include <chrono>
#include <cstddef>
#include <optional>
#include <vector>

namespace backplane::publishing {

/// Chooses the broker to connect to: the first of the list that works. Starts again at the beginning of the
/// list after each loss, so that one cut connection does not move the publisher. Belongs to one thread; takes
/// the time as an argument.
class BrokerList {
 public:
  using Clock = std::chrono::steady_clock;
  enum class Loss {
    disconnected,  ///< the connection ended: the same broker may be worth another try
    unusable,      ///< it is silent, does not confirm, or is shutting down
  };

  explicit BrokerList(std::size_t count) : lost_at_(count) {}

  /// Index of the broker to use, or to try next.
  [[nodiscard]] std::size_t current() const noexcept { return current_; }
  /// Not before this time.
  [[nodiscard]] Clock::time_point retry_at() const noexcept { return retry_at_; }
  /// How long a broker may take to answer or to confirm. With several brokers short, so that a publisher
  /// leaves a broker within a second; longer once none of them has answered in that time.
  [[nodiscard]] std::chrono::milliseconds patience() const noexcept;

  /// The current broker could not be connected. `loss`: disconnected if it refused, unusable if it kept
  /// silent.
  void on_failed(Loss loss, Clock::time_point now);
  /// The connection to the current broker was lost.
  void on_lost(Loss loss, Clock::time_point now);
  /// Uses this broker next, at once.
  void choose(std::size_t index, Clock::time_point now) noexcept;
  /// The current broker replies on all its endpoints, which took this long.
  void on_connected(std::chrono::nanoseconds took) noexcept;

 private:
  void try_next(std::size_t index, Clock::time_point now);

  std::vector<std::optional<Clock::time_point>> lost_at_;
  std::size_t current_{};
  std::size_t failures_{};  // attempts in a row that failed
  Clock::time_point retry_at_{};
  std::size_t silent_{};  // of those, how many because of silence
};

}  // namespace backplane::publishing
