#include "fanout/throttles.hpp"

#include <cstdint>
#include <string>
#include <utility>

namespace backplane::fanout {

/// One topic. It keeps a copy of the latest message: a reference would pin a whole segment for one message,
/// for a long time.
class Throttles::Throttle final : public TimerWheel::Timer {
 public:
  explicit Throttle(Throttles& owner) : owner_(owner) {}

  [[nodiscard]] bool came_through(AudienceId audience) const noexcept { return audience_ == audience; }
  void offer(std::string_view message, AudienceId audience, std::chrono::milliseconds interval,
             Clock::time_point now) {
    audience_ = audience;
    interval_ = interval;
    if (!is_set() && owner_.send_(message)) return begin_interval(now);
    owner_.ledger_.conflated += discard();
    latest_ = message;
    ++owner_.ledger_.pending;
    if (!is_set()) begin_interval(now);
  }
  /// @returns how many messages waited: one, or none.
  std::uint64_t discard() {
    if (latest_.empty()) return 0;
    latest_.clear();
    --owner_.ledger_.pending;
    return 1;
  }

 private:
  void on_time(Clock::time_point now) override {
    if (latest_.empty()) return;  // nothing came for a whole interval: the next message is sent at once
    if (owner_.send_(latest_)) discard();
    begin_interval(now);
  }
  void begin_interval(Clock::time_point now) { owner_.timers_.set(*this, now + interval_); }

  Throttles& owner_;
  AudienceId audience_{};
  std::chrono::milliseconds interval_{};
  std::string latest_;
};

Throttles::Throttles(TimerWheel& timers, DeliveryLedger& ledger, Send send)
    : timers_(timers), ledger_(ledger), send_(std::move(send)) {}

Throttles::~Throttles() {
  for (const auto& [topic, throttle] : topics_) ledger_.client_gone += throttle->discard();
}

void Throttles::offer(AudienceId audience, std::chrono::milliseconds interval, const Segment& segment,
                      std::uint32_t index, Clock::time_point now) {
  std::unique_ptr<Throttle>& throttle = topics_[segment.topic(index)];
  if (!throttle) throttle = std::make_unique<Throttle>(*this);
  throttle->offer(segment.bytes(index, index + 1), audience, interval, now);
}

void Throttles::supersede(const Segment& segment, std::uint32_t first, std::uint32_t last) {
  for (; first < last; ++first) {
    const auto found = topics_.find(segment.topic(first));
    if (found != topics_.end()) ledger_.conflated += found->second->discard();
  }
}

void Throttles::leave(AudienceId audience) {
  std::erase_if(topics_, [&](const auto& each) {
    if (!each.second->came_through(audience)) return false;
    ledger_.unsubscribed += each.second->discard();
    return true;
  });
}

}  // namespace backplane::fanout
