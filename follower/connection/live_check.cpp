#include "follower/connection/live_check.hpp"

#include <utility>

#include <fmt/format.h>

namespace backplane::follower {

LiveCheck::LiveCheck(std::chrono::milliseconds retry, std::function<std::uint64_t()> random)
    : retry_(retry), random_(std::move(random)) {}

void LiveCheck::connected() {
  disconnected();
  connected_ = true;
}

void LiveCheck::disconnected() {
  connected_ = false;
  proven_ = false;
  if (!asked_.empty()) stale_ = std::exchange(asked_, {});
}

std::optional<LiveCheck::Step> LiveCheck::step(Clock::time_point now) {
  if (!asked_.empty() && now >= retry_at_) stale_ = std::exchange(asked_, {});
  Step step{std::exchange(stale_, {}), {}};
  const bool something_to_prove = !proven_ || wanted_ > proven_ticket_;
  if (connected_ && asked_.empty() && something_to_prove) {
    asked_ = fmt::format("{}{:016x}", live_prefix, random_());
    asked_ticket_ = wanted_;
    retry_at_ = now + retry_;
    step.take = asked_;
  }
  if (step.drop.empty() && step.take.empty()) return std::nullopt;
  return step;
}

LiveCheck::Clock::time_point LiveCheck::next_deadline() const noexcept {
  if (!stale_.empty()) return Clock::time_point::min();
  if (!connected_) return Clock::time_point::max();
  if (!asked_.empty()) return retry_at_;
  const bool something_to_prove = !proven_ || wanted_ > proven_ticket_;
  return something_to_prove ? Clock::time_point::min() : Clock::time_point::max();
}

std::optional<LiveCheck::Proof> LiveCheck::answered(std::string_view topic) {
  if (!connected_ || asked_.empty() || topic != asked_) return std::nullopt;
  stale_ = std::exchange(asked_, {});
  proven_ticket_ = asked_ticket_;
  return Proof{proven_ticket_, !std::exchange(proven_, true)};
}

}  // namespace backplane::follower
