#include "cli/measurement/rates.hpp"

#include <algorithm>

namespace backplane::cli {
namespace {

double per_second(std::uint64_t number, std::chrono::nanoseconds time) noexcept {
  if (time.count() <= 0) return 0;
  return static_cast<double>(number) / std::chrono::duration<double>(time).count();
}

}  // namespace

void Rates::record(std::uint64_t events, std::uint64_t bytes, Clock::time_point now) {
  while (now >= second_end_) {
    seconds_.push_back(in_second_);
    in_second_ = 0;
    second_end_ += std::chrono::seconds{1};
  }
  events_ += events;
  bytes_ += bytes;
  in_second_ += events;
  last_ = now - start_;
}

double Rates::events_per_second() const noexcept {
  return per_second(events_, last_);
}

double Rates::bytes_per_second() const noexcept {
  return per_second(bytes_, last_);
}

Rates::Spread Rates::spread() const {
  if (seconds_.empty()) return {};
  std::vector<std::uint64_t> sorted = seconds_;
  std::sort(sorted.begin(), sorted.end());
  return {static_cast<double>(sorted.front()), static_cast<double>(sorted[sorted.size() / 2]),
          static_cast<double>(sorted.back())};
}

double Rates::current() const noexcept {
  return seconds_.empty() ? events_per_second() : static_cast<double>(seconds_.back());
}

}  // namespace backplane::cli
