// SUB … last: the retained values of a pattern, then live events.
#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "gateway/encode/json_record.hpp"
#include "gateway/hub/hub_state.hpp"

namespace backplane::gateway {

void Hub::start_values(Subscription& subscription) {
  subscription.backfill = std::make_unique<Backfill>();
  subscription.backfill->kind = Backfill::Kind::values;
  if (!subscription.active) {
    if (subscription.audience == nullptr) join_audience(subscription, /*buffered=*/true);
    subscription.backfill->buffered = true;
  }
  const RetainedValues& values = retained_.open(*subscription.pattern, now_);
  if (values.complete()) return send_values(subscription);
  awaiting_values_[&values].push_back(&subscription);
}

void Hub::on_retained(std::uint64_t request, const Delivery& delivery) {
  RetainedValues* const values = retained_.find(request);
  if (values == nullptr) return;
  retained_.add(*values, delivery);
  if (!retained_.is_full()) return;
  fail_values(
      values->pattern(), "too_many_values",
      fmt::format("expected at most {} bytes of retained values: subscribe to fewer topics, or without "
                  "`last`",
                  retained_.bytes_max()));
}

void Hub::on_retained_end(std::uint64_t request, const RetainedEnd& end) {
  RetainedValues* const values = retained_.find(request);
  if (values == nullptr) return;
  retained_.finish(*values, end, now_);
  if (end.error) {
    return fail_values(values->pattern(), "unavailable", fmt::format("retained values: {}", end.error->text));
  }
  auto waiting = awaiting_values_.extract(values);
  if (waiting.empty()) return;
  for (Subscription* const subscription : waiting.mapped()) send_values(*subscription);
}

void Hub::fail_values(SubscribedPattern& pattern, std::string_view code, const std::string& text) {
  if (auto waiting = awaiting_values_.extract(pattern.retained); !waiting.empty()) {
    // Each refusal may end a subscription, and the last one ends the pattern.
    for (Subscription* const subscription : waiting.mapped()) {
      const bool last = pattern.subscriptions == 1 && !subscription->active;
      refuse(*subscription, code, text);
      if (last) return;
    }
  }
  if (!pattern.retained->is_being_read()) retained_.drop(pattern);
}

void Hub::send_values(Subscription& subscription) {
  RetainedValues& values = *subscription.pattern->retained;
  note_joined(*subscription.client, values.as_of());
  const Client& client = *subscription.client;
  const bool has_prefixes = client.prefixes != nullptr && !client.prefixes->subscriptions.empty();
  const bool alone = client.subscriptions.size() == 1 && !subscription.active && !has_prefixes;
  if (alone && !subscription.filtered && values.bytes() <= limits_.slice_bytes)
    return send_all_values(subscription);
  confirm(subscription);
  subscription.backfill->skip = std::make_shared<fanout::Skip>();
  retained_.begin_slices(values);
  mark_started(subscription);
  (void)send_value_slice(subscription);
}

/// The text and the skip are shared by all clients that get them.
void Hub::send_all_values(Subscription& subscription) {
  const Client& client = *subscription.client;
  RetainedValues& values = *subscription.pattern->retained;
  const fanout::SkipPtr skip = retained_.skip(values);
  const SharedText& text = retained_.all(values, client.format, now_);
  counters_.values += values.size();
  confirm(subscription);
  if (!text->empty()) send(client, text, /*notify_when_drained=*/false);
  outlet_.release_join_buffer(client.id, subscription.audience->id, skip);
  subscription.active = true;
  subscription.backfill.reset();
}

/// Whether the client gets an event by a subscription as a live event, or has got it, unless it is to be sent
/// again.
bool Hub::arrives_live(Subscription& subscription, const RoutedTopic& topic, const wire::Stamp& stamp) {
  const bool passed = topic.stream == stamp.stream && topic.offset >= stamp.offset;
  // The hub has not passed it on and never will: it is older than the subscriptions at the broker, or nobody
  // was subscribed when it arrived.
  if (!passed && !broker_->may_arrive(*topic.name, stamp)) return false;
  if (subscription.active && !passed) return true;
  if (passed && has_arrived_by_prefix(*subscription.client, topic)) return true;
  const auto& all = subscription.client->subscriptions;
  if (all.size() == 1) return false;
  bool arrives = false;
  routes_.for_each_match(*topic.name, [&](const SubscribedPattern& pattern) {
    if (arrives || &pattern == subscription.pattern) return;
    const auto other = all.find(pattern.pattern.str());
    if (other == all.end() || !other->second.active || other->second.every.count() > 0) return;
    arrives = !passed || (!subscription.again && other->second.joined_serial < topic.serial);
  });
  return arrives;
}

/// Whether the value of the topic, or a later one, has been sent by another subscription of the client.
bool Hub::has_sent_value(const Subscription& subscription, std::string_view topic) {
  const auto& all = subscription.client->subscriptions;
  return std::any_of(all.begin(), all.end(), [&](const auto& each) {
    const Subscription& other = each.second;
    if (&other == &subscription || !other.pattern->pattern.matches(topic)) return false;
    const Backfill* const backfill = other.backfill.get();
    const bool sending = backfill != nullptr && backfill->kind == Backfill::Kind::values && backfill->started;
    return other.active || (sending && topic <= backfill->after);
  });
}

/// @returns whether anything was sent.
bool Hub::send_value_slice(Subscription& subscription) {
  const Client& client = *subscription.client;
  Backfill& backfill = *subscription.backfill;
  const auto select = [&](std::string_view name, const wire::Stamp& stamp) {
    if (subscription.filtered && !client.may_read(name)) return false;
    RoutedTopic& topic = routes_.topic(name);
    if (arrives_live(subscription, topic, stamp)) return false;
    if (is_sse(client.format) && has_sent_value(subscription, name)) return false;
    ++counters_.values;
    const fanout::TopicId id = routes_.number(topic, stamp.stream);
    backfill.skip->add_topic(id, routes_.stream_id(stamp.stream), stamp.position);
    return true;
  };
  std::string text;
  const bool done = retained_.append_slice(*subscription.pattern->retained, client.format,
                                           limits_.slice_bytes, select, now_, backfill.after, text);
  const bool sent = !text.empty();
  if (sent) send(client, std::make_shared<const std::string>(std::move(text)), /*notify_when_drained=*/!done);
  if (!done) {
    pause_until_drained(subscription);
    return sent;
  }
  if (backfill.buffered) outlet_.release_join_buffer(client.id, subscription.audience->id, backfill.skip);
  subscription.active = true;
  end_backfill(subscription);
  return sent;
}

}  // namespace backplane::gateway
