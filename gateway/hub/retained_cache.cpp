#include "gateway/hub/retained_cache.hpp"

#include <span>
#include <utility>
#include <vector>

#include "core/time/duration.hpp"
#include "core/wire/scan.hpp"
#include "gateway/session/notice.hpp"

namespace backplane::gateway {
namespace {

std::string_view chars(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// An event without payload clears the topic's retained value.
bool clears_value(std::span<const std::byte> event) {
  const wire::ScanResult scan = wire::scan_event(wire::without_stamp(event));
  return scan.fault == wire::EventFault::none && scan.event.payload == wire::Payload::none;
}

}  // namespace

// ---- keeping values ----

RetainedValues& RetainedCache::open(SubscribedPattern& pattern, Clock::time_point now) {
  if (pattern.retained == nullptr) {
    auto made = std::make_unique<RetainedValues>(pattern);
    RetainedValues& values = *made;
    kept_.emplace(&values, std::move(made));
    request(values, now);
    routes_.set_retained(pattern, &values);  // live events update them from now on
  } else if (pattern.retained->complete() && now >= pattern.retained->valid_until_) {
    request(*pattern.retained, now);  // clients that read the present values continue with them
  }
  pattern.retained->used_at_ = now;
  return *pattern.retained;
}

void RetainedCache::request(RetainedValues& values, Clock::time_point now) {
  values.requested_at_ = now;
  ++values.round_;
  values.request_ = broker_->retained(values.pattern_.pattern.str());
  by_request_.emplace(values.request_, &values);
}

RetainedValues* RetainedCache::find(std::uint64_t request) {
  const auto found = by_request_.find(request);
  return found == by_request_.end() ? nullptr : found->second;
}

void RetainedCache::add(RetainedValues& values, const Delivery& delivery) {
  if (values.pattern_.pattern.matches(delivery.topic)) store(values, delivery, /*live=*/false);
}

void RetainedCache::finish(RetainedValues& values, const RetainedEnd& end, Clock::time_point now) {
  by_request_.erase(std::exchange(values.request_, 0u));
  if (end.error) return;
  values.used_at_ = now;
  values.valid_until_ = end.valid_until;
  values.as_of_ = end.as_of;
  for (auto& [topic, value] : values.by_topic_) {
    if (value.round != values.round_ && !value.event.empty()) clear(values, value);
  }
}

void RetainedCache::update(RetainedValues& values, const Delivery& delivery) {
  store(values, delivery, /*live=*/true);
}

void RetainedCache::store(RetainedValues& values, const Delivery& delivery, bool live) {
  auto known = values.by_topic_.find(delivery.topic);
  if (known == values.by_topic_.end()) {
    known = values.by_topic_.emplace(delivery.topic, Value{}).first;
    values.bytes_ += sizeof(Value) + delivery.topic.size();
    bytes_ += sizeof(Value) + delivery.topic.size();
  } else {
    Value& value = known->second;
    // A live event is newer than the reply, unless it is of the same stream and older: live events that
    // arrive late may be older than the reply.
    const bool same_stream = value.stamp.stream == delivery.stamp.stream;
    const bool is_newer =
        live ? same_stream && !value.event.empty() && value.stamp.offset > delivery.stamp.offset
             : (same_stream ? value.stamp.offset >= delivery.stamp.offset : value.round == values.round_);
    value.round = values.round_;
    if (is_newer) return;
  }
  Value& value = known->second;
  const std::size_t before = value.event.size();
  value.stamp = delivery.stamp;
  value.round = values.round_;
  value.event.clear();
  if (!live || !clears_value(delivery.event)) value.event = chars(delivery.event);
  value.lines = {};
  values.texts_ = {};
  values.skip_.reset();
  values.bytes_ += value.event.size() - before;
  bytes_ += value.event.size() - before;
}

void RetainedCache::clear(RetainedValues& values, Value& value) {
  values.bytes_ -= value.event.size();
  bytes_ -= value.event.size();
  value.event.clear();
  values.texts_ = {};
  values.skip_.reset();
}

// ---- discarding values ----

void RetainedCache::evict(SubscribedPattern& pattern, std::string_view topic) {
  if (pattern.retained == nullptr) return;
  RetainedValues& values = *pattern.retained;
  if (!is_in_use(values)) return drop(pattern);
  const auto known = values.by_topic_.find(topic);
  if (known != values.by_topic_.end()) clear(values, known->second);
}

void RetainedCache::invalidate(std::optional<std::uint64_t> ended_stream) {
  std::vector<RetainedValues*> all;
  all.reserve(kept_.size());
  for (const auto& each : kept_) all.push_back(each.first);
  for (RetainedValues* const values : all) {
    if (!is_in_use(*values)) {
      drop(values->pattern_);
      continue;
    }
    values->requested_at_ = {};
    if (!ended_stream) continue;
    for (auto& [topic, value] : values->by_topic_) {
      if (value.stamp.stream == *ended_stream) clear(*values, value);
    }
  }
}

void RetainedCache::expire(Clock::time_point now) {
  std::vector<RetainedValues*> expired;
  for (const auto& each : kept_) {
    const RetainedValues& values = *each.first;
    if (is_in_use(values)) continue;
    const bool over =
        now - values.used_at_ >= limits_.idle_max || now - values.requested_at_ >= limits_.age_max;
    if (over) expired.push_back(each.first);
  }
  for (RetainedValues* const values : expired) drop(values->pattern_);
}

void RetainedCache::drop(SubscribedPattern& pattern) {
  if (pattern.retained == nullptr) return;
  RetainedValues& values = *pattern.retained;
  bytes_ -= values.bytes_;
  if (!values.complete()) {
    broker_->cancel(values.request_);
    by_request_.erase(values.request_);
  }
  routes_.set_retained(pattern, nullptr);
  kept_.erase(&values);
}

// ---- reading complete values ----

const SharedText& RetainedCache::line(RetainedValues& values, Value& value, std::string_view topic,
                                      Format format, Clock::time_point now) {
  SharedText& text = value.lines[static_cast<std::size_t>(format)];
  if (text) return text;
  std::string bytes;
  const auto event = std::as_bytes(std::span(value.event));
  EventContext context;
  if (is_mqtt(format)) context.retained_at_ns = unix_now_ns();
  if (!encoder_.encode(format, topic, event, value.stamp, bytes, context)) {
    ++undecodable_;
    append_notice(format,
                  {.kind = Notice::Kind::gap,
                   .topic = std::string(topic),
                   .stream = value.stamp.stream,
                   .first = value.stamp.offset,
                   .last = value.stamp.offset,
                   .reason = "undecodable"},
                  bytes);
  }
  values.used_at_ = now;
  text = std::make_shared<const std::string>(std::move(bytes));
  return text;
}

const SharedText& RetainedCache::all(RetainedValues& values, Format format, Clock::time_point now) {
  values.used_at_ = now;
  SharedText& text = values.texts_[static_cast<std::size_t>(format)];
  if (text) return text;
  std::string all;
  for (auto& [topic, value] : values.by_topic_) {
    if (!value.event.empty()) all += *line(values, value, topic, format, now);
  }
  text = std::make_shared<const std::string>(std::move(all));
  return text;
}

const fanout::SkipPtr& RetainedCache::skip(RetainedValues& values) {
  if (values.skip_) return values.skip_;
  auto skip = std::make_shared<fanout::Skip>();
  for (const auto& [topic, value] : values.by_topic_) {
    if (value.event.empty()) continue;
    const std::uint64_t stream = value.stamp.stream;
    const fanout::TopicId id = routes_.number(routes_.topic(topic), stream);
    skip->add_topic(id, routes_.stream_id(stream), value.stamp.position);
  }
  values.skip_ = std::move(skip);
  return values.skip_;
}

bool RetainedCache::append_slice(RetainedValues& values, Format format, std::size_t bytes_max,
                                 const Select& select, Clock::time_point now, std::string& after,
                                 std::string& out) {
  auto next = values.by_topic_.upper_bound(after);
  for (; next != values.by_topic_.end() && out.size() < bytes_max; ++next) {
    auto& [topic, value] = *next;
    after = topic;
    if (!value.event.empty() && select(topic, value.stamp)) out += *line(values, value, topic, format, now);
  }
  return next == values.by_topic_.end();
}

}  // namespace backplane::gateway
