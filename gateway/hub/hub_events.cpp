// Events and notices: written once a format, handed to the engine with a route.
#include <algorithm>
#include <limits>
#include <utility>

#include "gateway/hub/hub_state.hpp"

namespace backplane::gateway {
namespace {

constexpr std::chrono::milliseconds low_watermark_interval{500};

}  // namespace

void Hub::on_event(const Delivery& delivery) {
  ++serial_;
  ++counters_.events;
  Topic& topic = topic_of(delivery);
  const wire::Stamp& stamp = delivery.stamp;
  place_.advance({stamp.position, topic.stream == stamp.stream ? topic.stream_id : stream_id(stamp.stream)});
  if (!topic.wanted) {
    ++counters_.unmatched;
    return;
  }
  if (topic.stream != stamp.stream) {
    topic.id = number(topic, stamp.stream);
    topic.stream = stamp.stream;
    topic.stream_id = stream_id(stamp.stream);
  }
  topic.offset = stamp.offset;
  topic.serial = serial_;
  if (topic.recorded) record(topic, delivery);
  for (std::size_t format = 0; format < format_count; ++format) {
    if (topic.routes[format] == RouteTable::none) continue;
    line_.clear();
    if (!encoder_.encode(static_cast<Format>(format), delivery.topic, delivery.event, stamp, line_)) {
      return undecodable(topic, stamp);  // in one format as in another
    }
    ++counters_.encoded;
    outlet_.append(line_, {.topic = topic.id,
                           .route = topic.routes[format],
                           .offset = stamp.offset,
                           .stream = topic.stream_id,
                           .position = stamp.position});
  }
}

void Hub::undecodable(const Topic& topic, const wire::Stamp& stamp) {
  ++counters_.undecodable;
  announce({.kind = Notice::Kind::gap,
            .topic = *topic.name,
            .stream = stamp.stream,
            .first = stamp.offset,
            .last = stamp.offset,
            .reason = "undecodable"},
           stamp.position);
}

void Hub::announce(const Notice& notice, std::uint64_t position) {
  for (auto& set : sets_) set.clear();
  const Place place{position, stream_id(notice.stream)};
  bool for_some = false;
  each_interest(notice.topic, [&](const Interest& interest) {
    for (const auto& audience : interest.audiences) {
      for_some = for_some || (position > 0 && audience->newest.behind(place));
      // Who gets events at an interval gets notices at once.
      const bool meant = audience->notices || audience->every.count() == 0;
      if (meant) sets_[static_cast<std::size_t>(audience->format)].push_back(audience->id);
    }
  });
  if (for_some) return announce_one_by_one(notice, place);
  bool anybody = false;
  for (const auto& set : sets_) anybody = anybody || !set.empty();
  if (!anybody) return;
  ++counters_.notices;
  const fanout::TopicId id = directory_.add_notice(notice);
  for (std::size_t format = 0; format < format_count; ++format) {
    std::sort(sets_[format].begin(), sets_[format].end());
    routes_.exchange(notice_routes_[format], sets_[format]);
    if (notice_routes_[format] == RouteTable::none) continue;
    line_.clear();
    append_notice(static_cast<Format>(format), notice, line_);
    // With its place, so that who joins with a replay that reaches behind it is not told: see Skip.
    outlet_.append(
        line_,
        {.topic = id, .route = notice_routes_[format], .stream = place.stream, .position = place.position});
  }
}

void Hub::announce_one_by_one(const Notice& notice, const Place& place) {
  ByFormat<Text> texts;
  for (auto& each : readers_) {
    Reader& reader = each.second;
    bool concerned = false;
    each_interest(notice.topic, [&](const Interest& interest) {
      const auto found = reader.subscriptions.find(interest.pattern.str());
      if (found == reader.subscriptions.end() || found->second.audience == nullptr) return;
      concerned = concerned || !found->second.place.behind(place);
    });
    if (!concerned) continue;
    Text& text = texts[static_cast<std::size_t>(reader.format)];
    if (!text) {
      ++counters_.notices;
      std::string bytes;
      append_notice(reader.format, notice, bytes);
      text = std::make_shared<const std::string>(std::move(bytes));
    }
    give(reader, text, /*notify_drained=*/false);
  }
}

Notice Hub::notice_of(const Gap& gap) {
  return {.kind = Notice::Kind::gap,
          .topic = std::string(gap.topic),
          .stream = gap.stream,
          .first = gap.first,
          .last = gap.last,
          .reason = name(gap.reason)};
}

void Hub::on_gap(const Gap& gap) {
  ++serial_;
  each_interest(gap.topic, [&](Interest& interest) { forget_value(interest, gap.topic); });
  announce(notice_of(gap), gap.position);
}

void Hub::on_reset(const Reset& reset) {
  forget_values(reset.old_stream);
  encoder_.payloads().forget_types();  // publishers tell the new broker of theirs, which may be others
  for (Topic& topic : topics_) {
    const auto old = std::find_if(topic.numbers.begin(), topic.numbers.end(),
                                  [&](const auto& each) { return each.first == reset.old_stream; });
    if (old == topic.numbers.end()) continue;
    directory_.retire(old->second);
    topic.numbers.erase(old);
    if (topic.stream != reset.old_stream) continue;
    topic.stream = 0;
    topic.offset = 0;
    announce({.kind = Notice::Kind::reset, .topic = *topic.name, .stream = reset.new_stream, .reason = {}},
             0);
  }
  if (broker_stream_ == reset.old_stream) broker_stream_ = reset.new_stream;
  outlet_.advance_low_watermark(stream_id(reset.old_stream), std::numeric_limits<std::uint64_t>::max());
  forget_stream(reset.old_stream);
}

/// The engine remembers what clients had by replays, until it cannot come again.
void Hub::advance_low_watermark(Clock::time_point now) {
  if (now < low_watermark_due_) return;
  low_watermark_due_ = now + low_watermark_interval;
  const StreamPosition low_watermark = broker_->low_watermark();
  if (low_watermark.stream == low_watermark_.stream && low_watermark.position == low_watermark_.position)
    return;
  low_watermark_ = low_watermark;
  for (const auto& [stream, id] : streams_) {
    if (stream == low_watermark.stream) outlet_.advance_low_watermark(id, low_watermark.position);
  }
}

}  // namespace backplane::gateway
