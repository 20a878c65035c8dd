#include "gateway/upstream/publish_queue.hpp"

#include <utility>

#include <fmt/format.h>

namespace backplane::gateway {

PublishQueue::PublishQueue(EventPublisher& publisher, PublishListener& listener,
                           std::chrono::milliseconds timeout, std::size_t waiting_bytes_max)
    : publisher_(publisher), listener_(listener), timeout_(timeout), waiting_bytes_max_(waiting_bytes_max) {}

void PublishQueue::publish(fanout::ClientId client, std::string topic, std::string text,
                           Clock::time_point now, std::unique_ptr<const EventParts> parts) {
  const std::size_t bytes = text.size();
  if (waiting_bytes_ + bytes > waiting_bytes_max_) {
    return refuse(client, topic, bytes, "too many events wait for the broker: the event was not published",
                  "unavailable", parts.get());
  }
  ++counters_.received;
  waiting_bytes_ += bytes;
  entries_.push_back(
      {client, std::move(topic), std::move(text), bytes, now + timeout_, 0, {}, std::move(parts)});
  send();
  report_results();
}

void PublishQueue::refuse(fanout::ClientId client, std::string_view topic, std::size_t bytes,
                          std::string_view text, std::string_view code, const EventParts* parts) {
  ++counters_.received;
  ++counters_.refused;
  notify(client, topic, bytes, parts, code, text);
}

void PublishQueue::notify(fanout::ClientId client, std::string_view topic, std::size_t bytes,
                          const EventParts* parts, std::string_view code, std::string_view text) {
  if (parts != nullptr && parts->tag != 0) return listener_.on_tagged(client, parts->tag, bytes, code, text);
  listener_.on_published(client, topic, bytes, code, text);
}

void PublishQueue::send() {
  if (!has_broker()) return;
  const std::uint64_t before = offered_;
  for (; sent_ < entries_.size(); ++sent_) {
    Entry& entry = entries_[sent_];
    const Offer offer = entry.parts ? publisher_.offer_with_parts(entry.topic, entry.text, *entry.parts)
                                    : publisher_.offer(entry.topic, entry.text);
    if (offer == Offer::backpressured) break;  // it stays, with its deadline
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

void PublishQueue::report_results() {
  const PublisherStatus status = publisher_.status();
  const auto is_finished = [&](const Entry& entry) {
    return !entry.code.empty() || (entry.sequence != 0 && entry.sequence <= status.confirmed);
  };
  std::uint64_t finished = 0;
  for (const Entry& entry : entries_) {
    if (!is_finished(entry)) break;
    if (entry.code.empty()) ++finished;
  }
  // The publisher counts refusals without naming the events: if some of several were refused, none of them
  // may be reported as admitted.
  const std::uint64_t refused =
      finished > 0 ? status.refused - std::exchange(refused_seen_, status.refused) : 0;
  while (!entries_.empty() && is_finished(entries_.front())) {
    const Entry& entry = entries_.front();
    if (!entry.code.empty()) {
      finish_first(entry.code, "the event cannot be published");
    } else if (refused == 0) {
      finish_first({}, {});
    } else if (refused >= finished) {
      finish_first("refused", status.last_problem);
    } else {
      finish_first("refused", fmt::format("the broker refused {} of {} events, perhaps this one: {}", refused,
                                          finished, status.last_problem));
    }
  }
}

void PublishQueue::expire(Clock::time_point now) {
  while (expired_ < entries_.size() && entries_[expired_].deadline <= now) {
    Entry& entry = entries_[expired_];
    if (expired_ < sent_) {
      report(entry, "unavailable",
             "timeout: the broker has not confirmed the event, which may still be published");
      ++expired_;
    } else {
      report(entry, "unavailable", no_broker);
      waiting_bytes_ -= entry.bytes;
      entries_.erase(entries_.begin() + static_cast<std::ptrdiff_t>(expired_));
    }
  }
}

void PublishQueue::report(Entry& entry, std::string_view code, std::string_view text) {
  if (!entry.client) return;
  ++(code.empty() ? counters_.admitted : counters_.refused);
  notify(*std::exchange(entry.client, std::nullopt), entry.topic, entry.bytes, entry.parts.get(), code, text);
}

void PublishQueue::finish_first(std::string_view code, std::string_view text) {
  Entry entry = std::move(entries_.front());
  entries_.pop_front();
  --sent_;
  if (expired_ > 0) --expired_;
  report(entry, code, text);
}

void PublishQueue::pump(Clock::time_point now) {
  if (entries_.empty()) return;
  send();
  report_results();
  expire(now);
}

PublishQueue::Clock::time_point PublishQueue::next_deadline() const {
  return expired_ < entries_.size() ? entries_[expired_].deadline : Clock::time_point::max();
}

}  // namespace backplane::gateway
