#include "publishers/lib/outbox.hpp"

#include <algorithm>
#include <utility>

namespace backplane::publishing {
namespace {

/// A timeout that is meant to be infinite must not overflow the clock.
std::chrono::milliseconds bounded(std::chrono::milliseconds timeout) {
  return std::min<std::chrono::milliseconds>(timeout, std::chrono::hours{24 * 365});
}

}  // namespace

Offer Outbox::append(std::string_view topic, std::string_view tail) {
  bool wake = false;
  {
    const MutexLock lock(mutex_);
    if (refusing_offers_) return Offer::closed;
    const std::size_t event_bytes = events_.event_bytes(tail.size());
    if (event_bytes > event_bytes_max_ ||
        UnconfirmedEvents::footprint(topic.size(), event_bytes) > unconfirmed_bytes_max_) {
      return Offer::too_large;
    }
    if (!events_.append(topic, tail)) return Offer::backpressured;
    wake = std::exchange(wake_on_offer_, false);
  }
  if (wake) wake_.wake();
  return Offer::accepted;
}

bool Outbox::wait_ready(std::chrono::milliseconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + bounded(timeout);
  const MutexLock lock(mutex_);
  while (!status_.ready && !stopped_ && changed_.wait_until(mutex_, deadline)) {
  }
  return status_.ready;
}

bool Outbox::flush(std::chrono::milliseconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + bounded(timeout);
  const MutexLock lock(mutex_);
  const std::uint64_t target = events_.offered();
  if (events_.confirmed() < target && !stopped_) {
    flush_target_ = std::max(flush_target_, target);
    wake_.wake();
    while (events_.confirmed() < target && !stopped_ && changed_.wait_until(mutex_, deadline)) {
    }
  }
  return events_.confirmed() >= target && status_.refused == 0;
}

void Outbox::request_confirmation() {
  const MutexLock lock(mutex_);
  if (flush_target_ == events_.offered()) return;
  flush_target_ = events_.offered();
  wake_.wake();
}

PublisherStatus Outbox::status() const {
  const MutexLock lock(mutex_);
  PublisherStatus status = status_;
  status.offered = events_.offered();
  status.confirmed = events_.confirmed();
  status.event_bytes_max = event_bytes_max_;
  return status;
}

void Outbox::set_counters(Counters counters) {
  const MutexLock lock(mutex_);
  counters_ = std::move(counters);
}

void Outbox::refuse_offers() {
  const MutexLock lock(mutex_);
  refusing_offers_ = true;
}

void Outbox::request_stop() {
  const MutexLock lock(mutex_);
  stop_requested_ = true;
  wake_.wake();
}

Outbox::View Outbox::view() const {
  const MutexLock lock(mutex_);
  return {events_.offered(), events_.sent(), events_.confirmed(), flush_target_, stop_requested_};
}

std::size_t Outbox::peek(std::span<EventFrames> out) const {
  const MutexLock lock(mutex_);
  return events_.peek(out);
}

void Outbox::mark_sent(std::size_t count) {
  const MutexLock lock(mutex_);
  events_.mark_sent(count);
}

void Outbox::confirm(std::uint64_t sequence) {
  const MutexLock lock(mutex_);
  sequence = std::min(sequence, events_.offered());
  if (sequence <= events_.confirmed()) return;
  events_.confirm(sequence);
  status_changed();
}

void Outbox::rewind() {
  const MutexLock lock(mutex_);
  events_.rewind();
}

void Outbox::change_session(std::string_view head, std::uint64_t session) {
  const MutexLock lock(mutex_);
  events_.change_head(head);
  events_.rewind();
  status_.session = session;
  status_changed();
}

void Outbox::limit_event_bytes(std::size_t bytes_max) {
  const MutexLock lock(mutex_);
  event_bytes_max_ = bytes_max;
}

Counters Outbox::counters() const {
  const MutexLock lock(mutex_);
  return counters_;
}

bool Outbox::may_sleep(bool for_events) {
  const MutexLock lock(mutex_);
  if (for_events && events_.sent() < events_.offered()) return false;
  wake_on_offer_ = for_events;
  return true;
}

void Outbox::woken() {
  wake_.drain();
  const MutexLock lock(mutex_);
  wake_on_offer_ = false;
}

std::uint64_t Outbox::status_version() const {
  const MutexLock lock(mutex_);
  return status_version_;
}

void Outbox::mark_stopped() {
  const MutexLock lock(mutex_);
  stopped_ = true;
  status_.ready = false;
  status_changed();
}

}  // namespace backplane::publishing
