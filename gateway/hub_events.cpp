// Events: whom they concern, what is missing before them, and in which order a reader gets them.
#include "gateway/hub.hpp"
#include "gateway/hub_state.hpp"

namespace backplane::gateway {
namespace {

// Beyond so many the gateway starts to follow topics anew: what it misses by that is one hole a topic
// that the follower has not seen either.
constexpr std::size_t topics_followed_max = 1'000'000;

}  // namespace

void Hub::on_event(const Delivery& delivery) {
  ++serial_;
  ++counters_.events;
  if (!settling_.empty()) settle(delivery);
  find_hits(delivery.topic);
  if (hits_.empty()) {
    ++counters_.unmatched;
    return;
  }
  if (is_duplicate(delivery)) {
    ++counters_.duplicates;
    return;
  }
  follow_topic(delivery);
  deliver_hits(delivery);
}

void Hub::find_hits(std::string_view topic) {
  hits_.clear();
  const auto take = [this](const Interest& interest) {
    for (Subscription* const subscription : interest.subscriptions) {
      if (!subscription->active) continue;
      hits_.push_back(subscription);
      if (subscription->delivering) subscription->reader->delivers_ = serial_;
    }
  };
  // A pattern without wildcards is the topic that it means.
  if (const auto exact = interests_.find(topic); exact != interests_.end()) take(*exact->second);
  wildcards_.match(topic, [&](const Interest* interest) { take(*interest); });
}

bool Hub::is_duplicate(const Delivery& delivery) const {
  const auto state = topics_.find(delivery.topic);
  return state != topics_.end() && state->second.stream == delivery.stamp.stream &&
         state->second.offset == delivery.stamp.offset;
}

void Hub::follow_topic(const Delivery& delivery) {
  const wire::Stamp& stamp = delivery.stamp;
  auto known = topics_.find(delivery.topic);
  if (known == topics_.end()) {
    if (topics_.size() >= topics_followed_max) topics_.clear();
    topics_.emplace(delivery.topic, TopicState{stamp.stream, stamp.offset, serial_});
    return;
  }
  TopicState& state = known->second;
  Notice notice;
  notice.topic = delivery.topic;
  notice.stream = stamp.stream;
  if (state.stream != stamp.stream || stamp.offset < state.offset) {
    notice.kind = Notice::Kind::reset;
    tell_hits(notice, state.serial);
  } else if (state.offset != 0 && stamp.offset > state.offset + 1) {
    notice.first = state.offset + 1;
    notice.last = stamp.offset - 1;
    notice.reason = name(GapReason::recovery_timeout);
    tell_hits(notice, state.serial);
  }
  state = {stamp.stream, stamp.offset, serial_};
}

/// @param seen_at serial of the event after which something is missing: whoever subscribed since misses
///        nothing. None: it concerns all.
void Hub::tell_hits(const Notice& notice, std::optional<std::uint64_t> seen_at) {
  ++notice_serial_;
  for (Subscription* const hit : hits_) {
    Reader& reader = *hit->reader;
    if (seen_at && hit->active_since >= *seen_at) continue;
    if (std::exchange(reader.noticed_, notice_serial_) == notice_serial_) continue;
    if (reader.delivers_ == serial_) {
      reader.subscriber_.on_notice(notice);
    } else {
      hit->join->held.emplace_back(notice);
    }
  }
}

void Hub::deliver_hits(const Delivery& delivery) {
  Lines lines;
  std::vector<Subscription*> overflowing;
  for (Subscription* const hit : hits_) {
    Reader& reader = *hit->reader;
    const bool now = reader.delivers_ == serial_;
    const bool first = std::exchange(reader.done_, serial_) != serial_;
    if (first) {
      const EventLinePtr& event = line(lines, reader.subscriber_.format(), delivery);
      if (!event) return;  // all have been told
      if (now) {
        deliver(reader, event);
      } else {
        hit->join->held.emplace_back(event);
        hit->join->bytes += event->bytes().size();
        if (hit->join->bytes > limits_.join_bytes_max) overflowing.push_back(hit);
      }
    }
    if (hit->join) {
      const bool held = first && !now;
      hit->join->first_seen.try_emplace(std::string(delivery.topic),
                                        Join::FirstSeen{delivery.stamp.stream, delivery.stamp.offset, held});
    }
  }
  for (Subscription* const subscription : overflowing) {
    refuse(*subscription, "unavailable", "the broker's retained values do not come as fast as new events");
  }
}

void Hub::deliver(Reader& reader, const EventLinePtr& event) {
  if (!reader.shown_.empty()) {
    const auto shown = reader.shown_.find(event->topic());
    if (shown != reader.shown_.end() && reader.shown_stream_ == event->stream() &&
        event->offset() <= shown->second) {
      return;  // came already, as a retained value
    }
  }
  reader.subscriber_.on_event(event);
}

void Hub::settle(const Delivery& delivery) {
  std::erase_if(settling_, [&](Reader* reader) {
    const bool same_stream = reader->shown_stream_ == delivery.stamp.stream;
    if (same_stream && (delivery.late || delivery.stamp.position <= reader->shown_position_)) return false;
    reader->shown_.clear();
    reader->shown_position_ = 0;
    return true;
  });
}

Notice Hub::undecodable(const Delivery& delivery) {
  return {.kind = Notice::Kind::gap,
          .topic = std::string(delivery.topic),
          .stream = delivery.stamp.stream,
          .first = delivery.stamp.offset,
          .last = delivery.stamp.offset,
          .reason = "undecodable"};
}

EventLinePtr Hub::encode(Format format, const Delivery& delivery) {
  std::string text;
  if (!encoder_.encode(format, delivery.topic, delivery.event, delivery.stamp, text)) {
    ++counters_.undecodable;
    return nullptr;
  }
  return std::make_shared<const EventLine>(std::move(text), std::string(delivery.topic),
                                           delivery.stamp.stream, delivery.stamp.offset);
}

const EventLinePtr& Hub::line(Lines& lines, Format format, const Delivery& delivery) {
  EventLinePtr& line = lines[static_cast<std::size_t>(format)];
  if (line) return line;
  line = encode(format, delivery);
  if (!line) tell_hits(undecodable(delivery), std::nullopt);
  return line;
}

void Hub::on_gap(const Gap& gap) {
  ++serial_;
  find_hits(gap.topic);
  if (hits_.empty()) return;
  tell_hits({.kind = Notice::Kind::gap,
             .topic = std::string(gap.topic),
             .stream = gap.stream,
             .first = gap.first,
             .last = gap.last,
             .reason = name(gap.reason)},
            std::nullopt);
  topics_.insert_or_assign(std::string(gap.topic), TopicState{gap.stream, gap.last, serial_});
}

void Hub::on_reset(const Reset& reset) {
  for (auto topic = topics_.begin(); topic != topics_.end();) {
    TopicState& state = topic->second;
    ++serial_;
    find_hits(topic->first);
    if (hits_.empty()) {
      topic = topics_.erase(topic);  // nobody reads it any more
      continue;
    }
    if (state.stream == reset.old_stream) {
      Notice notice;
      notice.kind = Notice::Kind::reset;
      notice.topic = topic->first;
      notice.stream = reset.new_stream;
      tell_hits(notice, state.serial);
      state = {reset.new_stream, 0, serial_};
    }
    ++topic;
  }
}

}  // namespace backplane::gateway
