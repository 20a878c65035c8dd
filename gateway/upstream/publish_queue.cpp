#include "gateway/upstream/publish_queue.hpp"

#include <utility>

#include <fmt/format.h>

namespace backplane::gateway {

PublishQueue::PublishQueue(EventPublisher& publisher, PublishListener& listener,
                           std::chrono::milliseconds timeout, std::size_t waiting_bytes_max)
    : publisher_(publisher), listener_(listener), timeout_(timeout), waiting_bytes_max_(waiting_bytes_max) {}

void PublishQueue::publish(fanout::ClientId client, std::string topic, std::string text,
                           Clock::time_point now) {
  ++counters_.received;
  const std::size_t bytes = text.size();
  if (waiting_bytes_ + bytes > waiting_bytes_max_) {
    ++counters_.refused;
    return listener_.on_published(client, topic, bytes, "unavailable",
                                  "too much waits for the broker already: it was not published");
  }
  waiting_bytes_ += bytes;
  entries_.push_back({client, std::move(topic), std::move(text), bytes, now + timeout_});
  hand_on();
  take_answers();
}

void PublishQueue::hand_on() {
  const PublisherStatus status = publisher_.status();
  if (!status.ready || status.draining) return;
  const std::uint64_t before = offered_;
  for (; handed_on_ < entries_.size(); ++handed_on_) {
    Entry& entry = entries_[handed_on_];
    const Offer offer = publisher_.offer(entry.topic, entry.text);
    if (offer == Offer::backpressured) break;  // its deadline goes on
    if (offer == Offer::accepted) {
      entry.sequence = ++offered_;
    } else {
      entry.code = offer == Offer::too_large   ? "too_large"
                   : offer == Offer::bad_topic ? "bad_topic"
                                               : "unavailable";
    }
    waiting_bytes_ -= entry.bytes;
    entry.text = {};
  }
  if (offered_ > before) publisher_.request_confirmation();
}

void PublishQueue::take_answers() {
  const PublisherStatus status = publisher_.status();
  const auto answered = [&](const Entry& entry) {
    return !entry.code.empty() || (entry.sequence != 0 && entry.sequence <= status.confirmed);
  };
  std::uint64_t dealt_with = 0;
  for (const Entry& entry : entries_) {
    if (!answered(entry)) break;
    if (entry.code.empty()) ++dealt_with;
  }
  // The publisher counts refusals, it does not say which: where some of several were refused, none of them
  // may be called admitted.
  const std::uint64_t refused =
      dealt_with > 0 ? status.refused - std::exchange(refused_seen_, status.refused) : 0;
  while (!entries_.empty() && answered(entries_.front())) {
    const Entry& entry = entries_.front();
    if (!entry.code.empty()) {
      end_first(entry.code, "the event is not one that can be published");
    } else if (refused == 0) {
      end_first({}, {});
    } else if (refused >= dealt_with) {
      end_first("refused", status.last_problem);
    } else {
      end_first("refused", fmt::format("{} of {} events sent together were, perhaps this one: {}", refused,
                                       dealt_with, status.last_problem));
    }
  }
}

void PublishQueue::expire(Clock::time_point now) {
  while (expired_ < entries_.size() && entries_[expired_].deadline <= now) {
    Entry& entry = entries_[expired_];
    if (expired_ < handed_on_) {
      tell(entry, "unavailable", "the broker has not confirmed it in time: it may be published yet");
      ++expired_;
    } else {
      tell(entry, "unavailable", "there was no broker in time: it was not published");
      waiting_bytes_ -= entry.bytes;
      entries_.erase(entries_.begin() + static_cast<std::ptrdiff_t>(expired_));
    }
  }
}

void PublishQueue::tell(Entry& entry, std::string_view code, std::string_view text) {
  if (!entry.client) return;
  ++(code.empty() ? counters_.admitted : counters_.refused);
  listener_.on_published(*std::exchange(entry.client, std::nullopt), entry.topic, entry.bytes, code, text);
}

void PublishQueue::end_first(std::string_view code, std::string_view text) {
  Entry entry = std::move(entries_.front());
  entries_.pop_front();
  --handed_on_;
  if (expired_ > 0) --expired_;
  tell(entry, code, text);
}

void PublishQueue::pump(Clock::time_point now) {
  if (entries_.empty()) return;
  hand_on();
  take_answers();
  expire(now);
}

PublishQueue::Clock::time_point PublishQueue::next_deadline() const {
  return expired_ < entries_.size() ? entries_[expired_].deadline : Clock::time_point::max();
}

}  // namespace backplane::gateway
