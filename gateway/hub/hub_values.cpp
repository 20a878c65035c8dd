// SUB … last: retained values, asked for once for all who want them, and then what comes live.
#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "core/wire/scan.hpp"
#include "gateway/hub/hub_state.hpp"

namespace backplane::gateway {
namespace {

std::string_view chars(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// An event without payload says that there is no value any more.
bool clears(std::span<const std::byte> event) {
  const wire::ScanResult scan = wire::scan_event(wire::without_stamp(event));
  return scan.fault == wire::EventFault::none && scan.event.payload == wire::Payload::none;
}

}  // namespace

void Hub::begin_values(Subscription& subscription) {
  subscription.join = std::make_unique<Join>();
  subscription.join->kind = Join::Kind::values;
  if (!subscription.in_force) {
    if (subscription.audience == nullptr) enter(subscription, /*buffered=*/true);
    subscription.join->buffered = true;
  }
  Interest& interest = *subscription.interest;
  if (!interest.values) {
    ask_values(interest);
  } else if (interest.values->request == 0 && now_ >= interest.values->valid_until) {
    ask_values_again(interest);
  }
  interest.values->used = now_;
  if (interest.values->request == 0) return serve(subscription);
  interest.values->waiting.push_back(&subscription);
}

void Hub::ask_values(Interest& interest) {
  interest.values = std::make_unique<Values>(interest);
  ask_values_again(interest);
  values_kept_.insert(&interest);
  changed(interest);  // from here on its events are recorded
}

/// Whoever is being given what is known already goes on with it.
void Hub::ask_values_again(Interest& interest) {
  Values& values = *interest.values;
  values.made = now_;
  ++values.round;
  values.request = broker_->retained(interest.pattern.str());
  values_asked_.emplace(values.request, &interest);
}

/// The broker's answer is here, and has not all that an earlier one had.
void Hub::end_absent_values(Values& values) {
  for (auto& [topic, value] : values.by_topic) {
    if (value.round == values.round || value.event.empty()) continue;
    values.bytes -= value.event.size();
    values_bytes_ -= value.event.size();
    value.event.clear();
    values.texts = {};
    values.skip.reset();
  }
}

void Hub::drop_values(Interest& interest) {
  if (!interest.values) return;
  values_bytes_ -= interest.values->bytes;
  if (interest.values->request != 0) {
    broker_->cancel(interest.values->request);
    values_asked_.erase(interest.values->request);
  }
  values_kept_.erase(&interest);
  interest.values.reset();
  changed(interest);
}

void Hub::fail_values(Interest& interest, std::string_view code, const std::string& text) {
  // Each refusal may end a subscription, and the last one the interest.
  for (Subscription* const subscription : std::exchange(interest.values->waiting, {})) {
    const bool last = subscription->interest->subscriptions == 1 && !subscription->in_force;
    refuse(*subscription, code, text);
    if (last) return;
  }
  if (interest.values->feeding == 0) drop_values(interest);
}

void Hub::expire_values(Clock::time_point now) {
  std::vector<Interest*> expired;
  for (Interest* const interest : values_kept_) {
    const Values& values = *interest->values;
    if (values.request != 0 || values.feeding > 0) continue;
    const bool over = now - values.used >= limits_.values_idle || now - values.made >= limits_.values_age_max;
    if (over) expired.push_back(interest);
  }
  for (Interest* const interest : expired) drop_values(*interest);
}

// ---- what is known ----

void Hub::store(Values& values, const Delivery& delivery, bool live) {
  auto known = values.by_topic.find(delivery.topic);
  if (known == values.by_topic.end()) {
    known = values.by_topic.emplace(delivery.topic, Value{}).first;
    values.bytes += sizeof(Value) + delivery.topic.size();
    values_bytes_ += sizeof(Value) + delivery.topic.size();
  } else {
    Value& value = known->second;
    // What came live meanwhile is newer than the answer, unless it is of the same stream and older; and what
    // comes late may be older than the answer.
    const bool same_stream = value.stamp.stream == delivery.stamp.stream;
    const bool newer =
        live ? same_stream && !value.event.empty() && value.stamp.offset > delivery.stamp.offset
             : (same_stream ? value.stamp.offset >= delivery.stamp.offset : value.round == values.round);
    value.round = values.round;
    if (newer) return;
  }
  Value& value = known->second;
  const std::size_t before = value.event.size();
  value.stamp = delivery.stamp;
  value.round = values.round;
  value.event.clear();
  if (!live || !clears(delivery.event)) value.event = chars(delivery.event);
  value.lines = {};
  values.texts = {};
  values.skip.reset();
  values.bytes += value.event.size() - before;
  values_bytes_ += value.event.size() - before;
}

void Hub::record(const Topic& topic, const Delivery& delivery) {
  std::vector<Interest*> too_many;
  each_interest(*topic.name, [&](Interest& interest) {
    if (!interest.values) return;
    store(*interest.values, delivery, /*live=*/true);
    const bool given_up = interest.values->feeding == 0 && values_bytes_ > limits_.values_bytes_max;
    if (given_up) too_many.push_back(&interest);
  });
  for (Interest* const interest : too_many) {
    fail_values(*interest, "too_many_values", "the retained values and what comes meanwhile are too much");
  }
}

void Hub::forget_value(Interest& interest, std::string_view topic) {
  if (!interest.values) return;
  Values& values = *interest.values;
  if (values.request == 0 && values.feeding == 0) return drop_values(interest);
  const auto known = values.by_topic.find(topic);
  if (known == values.by_topic.end()) return;
  values.bytes -= known->second.event.size();
  values_bytes_ -= known->second.event.size();
  known->second.event.clear();
  values.texts = {};
  values.skip.reset();
}

void Hub::forget_values(std::optional<std::uint64_t> ended_stream) {
  const std::vector<Interest*> kept(values_kept_.begin(), values_kept_.end());
  for (Interest* const interest : kept) {
    Values& values = *interest->values;
    if (values.request == 0 && values.feeding == 0) {
      drop_values(*interest);
      continue;
    }
    values.made = {};  // nobody else is to be served from it for long
    if (!ended_stream) continue;
    std::vector<std::string> ended;
    for (const auto& [topic, value] : values.by_topic) {
      if (value.stamp.stream == *ended_stream) ended.push_back(topic);
    }
    for (const std::string& topic : ended) forget_value(*interest, topic);
  }
}

void Hub::on_retained(std::uint64_t request, const Delivery& delivery) {
  const auto found = values_asked_.find(request);
  if (found == values_asked_.end()) return;  // not wanted any more
  Interest& interest = *found->second;
  if (!interest.pattern.matches(delivery.topic)) return;
  store(*interest.values, delivery, /*live=*/false);
  if (values_bytes_ <= limits_.values_bytes_max) return;
  fail_values(interest, "too_many_values",
              fmt::format("retained values exceed {} bytes: wanted fewer topics, or none with `last`",
                          limits_.values_bytes_max));
}

void Hub::on_retained_end(std::uint64_t request, const RetainedEnd& end) {
  const auto found = values_asked_.find(request);
  if (found == values_asked_.end()) return;
  Interest& interest = *found->second;
  values_asked_.erase(found);
  interest.values->request = 0;
  if (end.error) {
    return fail_values(interest, "unavailable", fmt::format("retained values: {}", end.error->text));
  }
  interest.values->used = now_;
  interest.values->valid_until = end.valid_until;
  end_absent_values(*interest.values);
  for (Subscription* const subscription : std::exchange(interest.values->waiting, {})) serve(*subscription);
}

// ---- giving it ----

const Hub::Text& Hub::line(Values& values, Value& value, std::string_view topic, Format format) {
  Text& text = value.lines[static_cast<std::size_t>(format)];
  if (text) return text;
  std::string bytes;
  const auto event = std::as_bytes(std::span(value.event));
  if (!encoder_.encode(format, topic, event, value.stamp, bytes)) {
    ++counters_.undecodable;
    append_notice(format,
                  {.kind = Notice::Kind::gap,
                   .topic = std::string(topic),
                   .stream = value.stamp.stream,
                   .first = value.stamp.offset,
                   .last = value.stamp.offset,
                   .reason = "undecodable"},
                  bytes);
  }
  values.used = now_;
  text = std::make_shared<const std::string>(std::move(bytes));
  return text;
}

void Hub::serve(Subscription& subscription) {
  const bool alone = subscription.reader->subscriptions.size() == 1 && !subscription.in_force;
  if (alone && subscription.interest->values->bytes <= limits_.slice_bytes) {
    return serve_all_at_once(subscription);
  }
  answer(subscription);
  subscription.join->skip = std::make_shared<fanout::Skip>();
  ++subscription.interest->values->feeding;
  begin_feeding(subscription);
  (void)serve_slice(subscription);
}

void Hub::serve_all_at_once(Subscription& subscription) {
  const Reader& reader = *subscription.reader;
  Values& values = *subscription.interest->values;
  values.used = now_;
  if (!values.skip) {
    auto skip = std::make_shared<fanout::Skip>();
    for (const auto& [name, value] : values.by_topic) {
      if (value.event.empty()) continue;
      const fanout::TopicId id = number(topic_of(name), value.stamp.stream);
      skip->add_topic(id, stream_id(value.stamp.stream), value.stamp.position);
    }
    values.skip = std::move(skip);
  }
  Text& text = values.texts[static_cast<std::size_t>(reader.format)];
  if (!text) {
    std::string all;
    for (auto& [name, value] : values.by_topic) {
      if (!value.event.empty()) all += *line(values, value, name, reader.format);
    }
    text = std::make_shared<const std::string>(std::move(all));
  }
  counters_.values += values.by_topic.size();
  answer(subscription);
  if (!text->empty()) give(reader, text, /*notify_drained=*/false);
  outlet_.release_join_buffer(reader.id, subscription.audience->id, values.skip);
  subscription.in_force = true;
  subscription.join.reset();
}

bool Hub::comes_anyway(Subscription& subscription, const Topic& topic, const wire::Stamp& stamp) {
  const bool passed = topic.stream == stamp.stream && topic.offset >= stamp.offset;
  if (subscription.in_force && !passed) return true;
  const auto& all = subscription.reader->subscriptions;
  if (all.size() == 1) return false;
  bool anyway = false;
  each_interest(*topic.name, [&](const Interest& interest) {
    if (anyway || &interest == subscription.interest) return;
    const auto other = all.find(interest.pattern.str());
    if (other == all.end() || !other->second.in_force || other->second.every.count() > 0) return;
    anyway = !passed || other->second.active_since < topic.serial;
  });
  return anyway;
}

bool Hub::serve_slice(Subscription& subscription) {
  const Reader& reader = *subscription.reader;
  Join& join = *subscription.join;
  Values& values = *subscription.interest->values;
  std::string text;
  auto next = values.by_topic.upper_bound(join.after);
  for (; next != values.by_topic.end() && text.size() < limits_.slice_bytes; ++next) {
    auto& [name, value] = *next;
    join.after = name;
    if (value.event.empty()) continue;
    Topic& topic = topic_of(name);
    if (comes_anyway(subscription, topic, value.stamp)) continue;
    text += *line(values, value, name, reader.format);
    ++counters_.values;
    const fanout::TopicId id = number(topic, value.stamp.stream);
    join.skip->add_topic(id, stream_id(value.stamp.stream), value.stamp.position);
  }
  const bool done = next == values.by_topic.end();
  const bool gave = !text.empty();
  if (gave) give(reader, std::make_shared<const std::string>(std::move(text)), /*notify_drained=*/!done);
  if (!done) {
    notify_when_drained(subscription);
    return gave;
  }
  if (join.buffered) outlet_.release_join_buffer(reader.id, subscription.audience->id, join.skip);
  subscription.in_force = true;
  end_join(subscription);
  return gave;
}

// ---- joins of either kind ----

void Hub::begin_feeding(Subscription& subscription) {
  subscription.join->feeding = true;
  ++subscription.reader->feeding;
}

void Hub::end_feeding(Subscription& subscription) {
  Reader& reader = *subscription.reader;
  if (!std::exchange(subscription.join->feeding, false)) return;
  reader.paused_replies.remove(&subscription);
  --reader.feeding;
}

void Hub::end_join(Subscription& subscription) {
  if (!subscription.join) return;
  Join& join = *subscription.join;
  Reader& reader = *subscription.reader;
  const bool fed = join.feeding;
  if (join.kind == Join::Kind::replay) {
    replays_.erase(join.request);
    broker_->cancel(join.request);
  } else if (fed) {
    --subscription.interest->values->feeding;
  } else if (subscription.interest->values) {
    std::erase(subscription.interest->values->waiting, &subscription);
  }
  end_feeding(subscription);
  subscription.join.reset();
  if (fed && reader.feeding == 0 && !reader.deferred.empty() && !reader.resuming) resume_deferred(reader);
}

}  // namespace backplane::gateway
