#include "fanout/timer_wheel.hpp"

#include <algorithm>
#include <utility>

namespace backplane::fanout {

void TimerWheel::Timer::cancel() noexcept {
  if (!is_set()) return;
  *previous_ = next_;
  if (next_ != nullptr) next_->previous_ = previous_;
  previous_ = nullptr;
  --*count_;
}

TimerWheel::~TimerWheel() {
  for (Timer*& head : slots_) {
    while (head != nullptr) head->cancel();
  }
}

void TimerWheel::link(Timer& timer, Timer*& head) noexcept {
  timer.previous_ = &head;
  timer.next_ = head;
  if (head != nullptr) head->previous_ = &timer.next_;
  head = &timer;
}

void TimerWheel::set(Timer& timer, Clock::time_point due) noexcept {
  timer.cancel();
  // Rounded up, because no timer may be early. At least the next tick: the current slot has been visited, and
  // a timer in it would wait for a whole turn.
  timer.due_ = std::max(ticks(due) + 1, now_ + 1);
  timer.count_ = &count_;
  ++count_;
  link(timer, slots_[timer.due_ % slots]);
}

void TimerWheel::advance(Clock::time_point now) {
  const std::uint64_t until = ticks(now);
  if (until <= now_) return;
  // After a long sleep, each slot is visited once.
  const std::uint64_t from = std::max(now_ + 1, until >= slots ? until - slots + 1 : 0);
  now_ = until;
  for (std::uint64_t at = from; at <= until && count_ > 0; ++at) {
    // A callback may set and destroy timers, even of this slot. Timers that expire are therefore moved to a
    // list of their own first.
    Timer* due = nullptr;
    Timer* timer = slots_[at % slots];
    while (timer != nullptr) {
      Timer* const next = timer->next_;
      if (timer->due_ <= until) {
        timer->cancel();
        ++count_;
        link(*timer, due);
      }
      timer = next;
    }
    while (due != nullptr) {
      Timer& first = *due;
      first.cancel();
      first.on_time(now);
    }
  }
}

TimerWheel::Clock::time_point TimerWheel::next() const noexcept {
  if (count_ == 0) return Clock::time_point::max();
  std::uint64_t at = now_ + 1;
  while (at < now_ + slots && slots_[at % slots] == nullptr) ++at;
  return Clock::time_point{at * tick};
}

}  // namespace backplane::fanout
