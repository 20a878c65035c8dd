// Subscriptions: made, proven, joined with retained values, taken back. Events: hub_events.cpp.
#include "gateway/hub.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "gateway/hub_state.hpp"

namespace backplane::gateway {

Hub::Hub(HubLimits limits, Upstream& upstream, Clock::time_point now)
    : limits_(limits), upstream_(upstream), wait_from_(now + limits.first_wait) {}

Hub::~Hub() = default;

Hub::Reader& Hub::add(Subscriber& subscriber) {
  auto reader = std::make_unique<Reader>(subscriber);
  Reader& result = *reader;
  readers_.emplace(&result, std::move(reader));
  return result;
}

void Hub::remove(Reader& reader) {
  while (!reader.subscriptions_.empty()) drop(*reader.subscriptions_.begin()->second);
  std::erase(settling_, &reader);
  readers_.erase(&reader);
}

std::size_t Hub::subscriptions(const Reader& reader) {
  return reader.subscriptions_.size();
}

Hub::Interest& Hub::interest_in(const Pattern& pattern) {
  if (const auto known = interests_.find(pattern.str()); known != interests_.end()) return *known->second;
  auto interest =
      std::make_unique<Interest>(Interest{pattern, upstream_.subscribe(pattern.literal_prefix()), {}});
  Interest& result = *interest;
  interests_.emplace(pattern.str(), std::move(interest));
  if (!pattern.is_exact()) wildcards_.insert(pattern.str(), &result);
  return result;
}

void Hub::subscribe(Reader& reader, const Pattern& pattern, bool last, Clock::time_point now) {
  auto known = reader.subscriptions_.find(pattern.str());
  if (known == reader.subscriptions_.end()) {
    if (reader.subscriptions_.size() >= limits_.subscriptions_per_reader_max) {
      const std::string text =
          fmt::format("wanted at most {} subscriptions", limits_.subscriptions_per_reader_max);
      return reader.subscriber_.on_refused(pattern.str(), "too_many_subscriptions", text);
    }
    Interest& interest = interest_in(pattern);
    auto made = std::make_unique<Subscription>();
    made->reader = &reader;
    made->interest = &interest;
    interest.subscriptions.push_back(made.get());
    known = reader.subscriptions_.emplace(pattern.str(), std::move(made)).first;
    ++counters_.subscriptions;
  }
  Subscription& subscription = *known->second;
  ++subscription.unanswered;
  subscription.last = last;
  tell_waiting(reader, now);
  if (connected_ && subscription.interest->ticket <= live_ticket_) {
    activate(subscription);
  } else {
    waiting_.emplace(subscription.interest->ticket, &subscription);
  }
}

bool Hub::unsubscribe(Reader& reader, std::string_view pattern) {
  const auto found = reader.subscriptions_.find(pattern);
  if (found == reader.subscriptions_.end()) return false;
  Subscription& subscription = *found->second;
  for (; subscription.unanswered > 0; --subscription.unanswered) {
    reader.subscriber_.on_refused(pattern, "cancelled", "UNSUB came before it was in force");
  }
  drop(subscription);
  return true;
}

void Hub::cancel_waiting(Reader& reader, std::string_view why) {
  std::vector<Subscription*> unanswered;
  for (const auto& [pattern, subscription] : reader.subscriptions_) {
    if (subscription->unanswered > 0) unanswered.push_back(subscription.get());
  }
  for (Subscription* const subscription : unanswered) refuse(*subscription, "cancelled", why);
}

void Hub::drop(Subscription& subscription) {
  Interest& interest = *subscription.interest;
  waiting_.erase({interest.ticket, &subscription});
  end_join(subscription);
  std::erase(interest.subscriptions, &subscription);
  --counters_.subscriptions;
  const std::string pattern = interest.pattern.str();
  subscription.reader->subscriptions_.erase(pattern);
  if (!interest.subscriptions.empty()) return;
  upstream_.unsubscribe(interest.pattern.literal_prefix());
  wildcards_.erase(pattern);
  interests_.erase(pattern);
}

void Hub::end_join(Subscription& subscription) {
  if (!subscription.join) return;
  joins_.erase(subscription.join->request);
  subscription.join.reset();
}

void Hub::activate(Subscription& subscription) {
  if (!subscription.active) {
    subscription.active = true;
    subscription.active_since = serial_;
  }
  if (!subscription.last) {
    // Asked for again without `last`: what a join holds is due now.
    if (subscription.join && !subscription.delivering) return;
    subscription.delivering = true;
    return answer(subscription);
  }
  if (subscription.join) return;  // the values under way are as good
  subscription.join = std::make_unique<Join>();
  subscription.join->request = upstream_.retained(subscription.interest->pattern.str());
  joins_.emplace(subscription.join->request, &subscription);
}

void Hub::answer(Subscription& subscription) {
  const std::string& pattern = subscription.interest->pattern.str();
  for (; subscription.unanswered > 0; --subscription.unanswered) {
    subscription.reader->subscriber_.on_subscribed(pattern);
  }
}

void Hub::refuse(Subscription& subscription, std::string_view code, std::string_view text) {
  const std::string pattern = subscription.interest->pattern.str();
  Subscriber& subscriber = subscription.reader->subscriber_;
  std::size_t unanswered = std::exchange(subscription.unanswered, 0);
  if (subscription.delivering) {
    end_join(subscription);  // it was in force before: that much stays
  } else {
    drop(subscription);
  }
  for (; unanswered > 0; --unanswered) subscriber.on_refused(pattern, code, text);
}

void Hub::on_retained(std::uint64_t request, const Delivery& delivery) {
  const auto found = joins_.find(request);
  if (found == joins_.end()) return;  // not wanted any more
  Subscription& subscription = *found->second;
  if (!subscription.interest->pattern.matches(delivery.topic)) return;
  EventLinePtr line = encode(subscription.reader->subscriber_.format(), delivery);
  Join& join = *subscription.join;
  if (!line) {
    join.held.emplace_back(undecodable(delivery));
    return;
  }
  join.bytes += line->bytes().size();
  join.values.emplace_back(std::move(line), delivery.stamp.position);
  if (join.bytes <= limits_.join_bytes_max) return;
  refuse(subscription, "too_many_values",
         fmt::format("the retained values exceed {} bytes: wanted fewer topics, or none with `last`",
                     limits_.join_bytes_max));
}

void Hub::on_retained_end(std::uint64_t request, const std::optional<Error>& error) {
  const auto found = joins_.find(request);
  if (found == joins_.end()) return;
  Subscription& subscription = *found->second;
  if (error) return refuse(subscription, "unavailable", fmt::format("retained values: {}", error->text));

  Reader& reader = *subscription.reader;
  const std::unique_ptr<Join> join = std::move(subscription.join);
  joins_.erase(request);
  subscription.delivering = true;
  answer(subscription);
  for (const auto& [value, position] : join->values) {
    const auto live = join->first_seen.find(value->topic());
    if (live == join->first_seen.end()) {
      const auto shown = reader.shown_.find(value->topic());
      if (shown != reader.shown_.end() && shown->second >= value->offset() &&
          reader.shown_stream_ == value->stream()) {
        continue;
      }
      if (reader.shown_.empty()) settling_.push_back(&reader);
      reader.shown_[value->topic()] = value->offset();
      reader.shown_position_ = std::max(reader.shown_position_, position);
      reader.shown_stream_ = value->stream();
    } else if (!live->second.held || live->second.stream != value->stream() ||
               live->second.offset <= value->offset()) {
      continue;  // the reader has it, or something newer, or will have it below
    }
    reader.subscriber_.on_event(value);
  }
  for (const auto& held : join->held) {
    if (const auto* line = std::get_if<EventLinePtr>(&held)) {
      reader.subscriber_.on_event(*line);
    } else {
      reader.subscriber_.on_notice(std::get<Notice>(held));
    }
  }
}

void Hub::proven() {
  while (connected_ && !waiting_.empty() && waiting_.begin()->first <= live_ticket_) {
    Subscription& subscription = *waiting_.begin()->second;
    waiting_.erase(waiting_.begin());
    activate(subscription);
  }
}

void Hub::on_live(std::uint64_t ticket) {
  live_ticket_ = std::max(live_ticket_, ticket);
  proven();
}

void Hub::on_connection(bool up) {
  connected_ = up;
  announce_live_ = up;
  wait_due_ = !up;
  if (up) return proven();
  wait_from_ = Clock::time_point::min();
}

void Hub::tell_waiting(Reader& reader, Clock::time_point now) {
  if (connected_ || reader.told_to_wait_ || now < wait_from_ || reader.subscriptions_.empty()) return;
  reader.told_to_wait_ = true;
  reader.subscriber_.on_broker(false);
}

void Hub::tick(Clock::time_point now) {
  if (std::exchange(announce_live_, false)) {
    for (const auto& [reader, owner] : readers_) {
      if (std::exchange(reader->told_to_wait_, false)) reader->subscriber_.on_broker(true);
    }
  }
  if (wait_due_ && now >= wait_from_) {
    wait_due_ = false;
    for (const auto& [reader, owner] : readers_) tell_waiting(*reader, now);
  }
}

Hub::Clock::time_point Hub::next_deadline() const {
  if (announce_live_) return Clock::time_point::min();
  return wait_due_ ? wait_from_ : Clock::time_point::max();
}

}  // namespace backplane::gateway
