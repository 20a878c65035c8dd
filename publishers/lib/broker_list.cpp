#include "publishers/lib/broker_list.hpp"

#include <algorithm>
#include <utility>

namespace backplane::publishing {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds backoff_min{50};
constexpr milliseconds backoff_max{1000};
// A healthy connection needs two round trips.
constexpr milliseconds patience_alone{5000};
constexpr milliseconds patience_min{800};
// A broker that was lost twice within this time is not tried first again.
constexpr std::chrono::seconds stable_time{3};

}  // namespace

milliseconds BrokerList::patience() const noexcept {
  if (lost_at_.size() == 1) return patience_alone;
  return std::min(patience_alone, patience_min * (1 << std::min<std::size_t>(silent_ / lost_at_.size(), 3)));
}

void BrokerList::on_failed(Loss loss, Clock::time_point now) {
  ++failures_;
  if (loss == Loss::unusable) ++silent_;
  try_next((current_ + 1) % lost_at_.size(), now);
}

void BrokerList::on_connected(std::chrono::nanoseconds took) noexcept {
  failures_ = 0;
  // A slow broker stays usable only with the patience that it needed here.
  if (took < patience_min) silent_ = 0;
}

void BrokerList::on_lost(Loss loss, Clock::time_point now) {
  const auto before = std::exchange(lost_at_[current_], now);
  const bool lost_again = before && now - *before < stable_time;
  silent_ = 0;
  ++failures_;
  if (loss == Loss::disconnected && !lost_again) {
    try_next(0, now);
  } else {
    try_next((current_ + 1) % lost_at_.size(), now);
  }
}

void BrokerList::choose(std::size_t index, Clock::time_point now) noexcept {
  current_ = index;
  retry_at_ = now;
}

/// Goes through the whole list without a pause, then waits longer after each time.
void BrokerList::try_next(std::size_t index, Clock::time_point now) {
  current_ = index;
  const std::size_t rounds = failures_ / lost_at_.size();
  const bool whole_round = failures_ % lost_at_.size() == 0;
  const auto backoff = std::min(backoff_max, backoff_min * (1 << std::min<std::size_t>(rounds, 6)) / 2);
  retry_at_ = whole_round ? now + backoff : now;
}

}  // namespace backplane::publishing
