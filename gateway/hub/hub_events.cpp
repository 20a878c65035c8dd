// Events and notices: encoded once per format, appended to the engine with a route.
#include <chrono>
#include <vector>

#include <fmt/format.h>

#include "gateway/hub/hub_state.hpp"

namespace backplane::gateway {
namespace {

constexpr std::chrono::milliseconds low_watermark_interval{500};

Notice notice_of(const Gap& gap) {
  return {.kind = Notice::Kind::gap,
          .topic = std::string(gap.topic),
          .stream = gap.stream,
          .first = gap.first,
          .last = gap.last,
          .reason = name(gap.reason)};
}

}  // namespace

void Hub::on_event(const Delivery& delivery) {
  ++serial_;
  ++counters_.events;
  RoutedTopic& topic = routes_.topic(delivery);
  const wire::Stamp& stamp = delivery.stamp;
  read_.advance(stamp.stream, delivery.resume_at.value_or(stamp.position));
  position_.advance(
      {stamp.position, topic.stream == stamp.stream ? topic.stream_id : routes_.stream_id(stamp.stream)});
  if (!topic.needed) {
    ++counters_.unmatched;
    return;
  }
  routes_.advance(topic, stamp, serial_);
  if (topic.cached) update_retained(topic, delivery);
  for (std::size_t format = 0; format < format_count; ++format) {
    if (topic.routes[format] == RouteTable::none) continue;
    line_.clear();
    if (!encoder_.encode(static_cast<Format>(format), delivery.topic, delivery.event, stamp, line_,
                         {.late = delivery.late, .resume_at = &read_.all()})) {
      return announce_undecodable(topic, stamp);  // the other formats would fail alike
    }
    if (line_.empty()) continue;  // MQTT cannot deliver it
    ++counters_.encoded;
    outlet_.append(line_, {.topic = topic.id,
                           .route = topic.routes[format],
                           .offset = stamp.offset,
                           .stream = topic.stream_id,
                           .position = stamp.position});
  }
}

void Hub::announce_undecodable(const RoutedTopic& topic, const wire::Stamp& stamp) {
  ++counters_.undecodable;
  announce({.kind = Notice::Kind::gap,
            .topic = *topic.name,
            .stream = stamp.stream,
            .first = stamp.offset,
            .last = stamp.offset,
            .reason = "undecodable"},
           stamp.position);
}

void Hub::update_retained(const RoutedTopic& topic, const Delivery& delivery) {
  std::vector<SubscribedPattern*> over_limit;
  routes_.for_each_match(*topic.name, [&](SubscribedPattern& pattern) {
    if (pattern.retained == nullptr) return;
    retained_.update(*pattern.retained, delivery);
    if (retained_.is_full() && !pattern.retained->is_being_read()) over_limit.push_back(&pattern);
  });
  for (SubscribedPattern* const pattern : over_limit) {
    fail_values(
        *pattern, "too_many_values",
        fmt::format("expected at most {} bytes of retained values and live events", retained_.bytes_max()));
  }
}

void Hub::announce(const Notice& notice, std::uint64_t position) {
  const EnginePosition place{position, routes_.stream_id(notice.stream)};
  announce_to_zmtp(notice, place);
  const TopicRoutes::NoticeRoutes to = routes_.notice_routes(notice.topic, place);
  if (to.began_after) return announce_one_by_one(notice, place);
  if (!to.any) return;
  ++counters_.notices;
  const fanout::TopicId id = directory_.add_notice(notice);
  for (std::size_t format = 0; format < format_count; ++format) {
    if (to.routes[format] == RouteTable::none) continue;
    line_.clear();
    append_notice(static_cast<Format>(format), notice, line_);
    if (line_.empty()) continue;
    // With a position: the engine skips it for clients whose replay has gone past it, see Skip.
    outlet_.append(
        line_, {.topic = id, .route = to.routes[format], .stream = place.stream, .position = place.position});
  }
}

void Hub::announce_one_by_one(const Notice& notice, const EnginePosition& position) {
  ByFormat<SharedText> texts;
  for (auto& each : clients_) {
    const Client& client = each.second;
    if (client.format == Format::zmtp || !client.may_read(notice.topic)) continue;
    bool concerned = false;
    routes_.for_each_match(notice.topic, [&](const SubscribedPattern& pattern) {
      const auto found = client.subscriptions.find(pattern.pattern.str());
      if (found == client.subscriptions.end() || found->second.audience == nullptr) return;
      concerned = concerned || !found->second.start.covers(position);
    });
    if (!concerned) continue;
    SharedText& text = texts[static_cast<std::size_t>(client.format)];
    if (!text) {
      ++counters_.notices;
      std::string bytes;
      append_notice(client.format, notice, bytes);
      text = std::make_shared<const std::string>(std::move(bytes));
    }
    if (!text->empty()) send(client, text, /*notify_when_drained=*/false);
  }
}

void Hub::on_gap(const Gap& gap) {
  ++serial_;
  routes_.for_each_match(gap.topic, [&](SubscribedPattern& pattern) { retained_.evict(pattern, gap.topic); });
  announce(notice_of(gap), gap.position);
}

void Hub::on_reset(const Reset& reset) {
  retained_.invalidate(reset.old_stream);
  encoder_.payloads().clear_types();  // publishers register their types again, perhaps other ones
  routes_.end_stream(reset.old_stream, [&](const RoutedTopic& topic) {
    announce({.kind = Notice::Kind::reset, .topic = *topic.name, .stream = reset.new_stream, .reason = {}},
             0);
  });
  read_.replace(reset.old_stream, {reset.new_stream, 0});
}

/// The engine remembers what clients received by replays until that cannot arrive live any more.
void Hub::advance_low_watermark(Clock::time_point now) {
  if (now < low_watermark_due_) return;
  low_watermark_due_ = now + low_watermark_interval;
  for (const StreamPosition& low_watermark : broker_->low_watermarks()) {
    if (const auto id = routes_.find_stream(low_watermark.stream)) {
      outlet_.advance_low_watermark(*id, low_watermark.position);
    }
  }
}

}  // namespace backplane::gateway
