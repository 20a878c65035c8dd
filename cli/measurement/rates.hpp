#pragma once
// How many events there were in each second.

#include <chrono>
#include <cstdint>
#include <vector>

namespace backplane::cli {

/// Counts events, and keeps the rate of each whole second since the first. A value; belongs to one thread;
/// the time is passed in, and does not go back.
class Rates {
 public:
  using Clock = std::chrono::steady_clock;

  /// Begins at `start`.
  explicit Rates(Clock::time_point start) : start_(start), second_end_(start + std::chrono::seconds{1}) {}

  void record(std::uint64_t events, std::uint64_t bytes, Clock::time_point now);

  [[nodiscard]] std::uint64_t events() const noexcept { return events_; }
  [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_; }
  /// From the start to the last record().
  [[nodiscard]] std::chrono::nanoseconds elapsed() const noexcept { return last_; }
  /// Over all of the time; 0 if none has passed.
  [[nodiscard]] double events_per_second() const noexcept;
  [[nodiscard]] double bytes_per_second() const noexcept;

  /// Of the whole seconds.
  struct Spread {
    double min{};
    double median{};
    double max{};
  };
  /// All 0 before the first second is over.
  [[nodiscard]] Spread spread() const;
  /// The rate of the last whole second, else that of all of the time.
  [[nodiscard]] double current() const noexcept;

 private:
  Clock::time_point start_;
  Clock::time_point second_end_;
  std::chrono::nanoseconds last_{0};
  std::uint64_t events_{};
  std::uint64_t bytes_{};
  std::uint64_t in_second_{};
  std::vector<std::uint64_t> seconds_;
};

}  // namespace backplane::cli
