#include "follower/connection/live_check.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace backplane::follower {

LiveCheck::LiveCheck(std::chrono::milliseconds retry, std::function<std::uint64_t()> random)
    : retry_(retry), random_(std::move(random)) {}

void LiveCheck::on_connected(Clock::time_point now) {
  on_disconnected();
  connected_ = true;
  received_at_ = now;
}

void LiveCheck::on_disconnected() {
  connected_ = false;
  confirmed_ = false;
  unanswered_since_.reset();
  if (!nonce_topic_.empty()) stale_topic_ = std::exchange(nonce_topic_, {});
}

void LiveCheck::on_received(Clock::time_point now) {
  received_at_ = now;
  // A reply may still be behind what arrives.
  if (unanswered_since_) unanswered_since_ = now;
}

bool LiveCheck::is_dead(Clock::time_point now) const noexcept {
  return connected_ && unanswered_since_ && now - *unanswered_since_ >= patience;
}

bool LiveCheck::needs_check(Clock::time_point now) const noexcept {
  return !confirmed_ || last_ticket_ > confirmed_ticket_ || now - received_at_ >= silence_max;
}

std::optional<LiveCheck::Step> LiveCheck::step(Clock::time_point now) {
  if (!nonce_topic_.empty() && now >= retry_at_) stale_topic_ = std::exchange(nonce_topic_, {});
  Step step{std::exchange(stale_topic_, {}), {}};
  if (connected_ && nonce_topic_.empty() && needs_check(now)) {
    if (!unanswered_since_) unanswered_since_ = now;
    nonce_topic_ = fmt::format("{}{:016x}", live_prefix, random_());
    nonce_ticket_ = last_ticket_;
    retry_at_ = now + retry_;
    step.subscribe = nonce_topic_;
  }
  if (step.unsubscribe.empty() && step.subscribe.empty()) return std::nullopt;
  return step;
}

LiveCheck::Clock::time_point LiveCheck::next_deadline() const noexcept {
  if (!stale_topic_.empty()) return Clock::time_point::min();
  if (!connected_) return Clock::time_point::max();
  if (!nonce_topic_.empty()) return std::min(retry_at_, *unanswered_since_ + patience);
  if (!confirmed_ || last_ticket_ > confirmed_ticket_) return Clock::time_point::min();
  return received_at_ + silence_max;
}

std::optional<LiveCheck::Confirmation> LiveCheck::on_reply(std::string_view topic) {
  if (!connected_ || nonce_topic_.empty() || topic != nonce_topic_) return std::nullopt;
  stale_topic_ = std::exchange(nonce_topic_, {});
  unanswered_since_.reset();
  confirmed_ticket_ = nonce_ticket_;
  return Confirmation{confirmed_ticket_, !std::exchange(confirmed_, true)};
}

}  // namespace backplane::follower
