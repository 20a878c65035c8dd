// SUB … since: history, as fast as the client reads it, and then what comes live.
//
// The broker is asked slice by slice. When a slice says that it is complete, up to a position, the client
// enters its audience, whose events are kept aside for it, and the broker is asked once more. That answer is
// made after the client entered: whatever the broker took in behind the position that it then names comes
// live after the client entered, and so is kept or yet to come; all before that position the replay has
// given, and the engine leaves it out. So nothing is missing where the two meet, and nothing comes twice.
#include <utility>

#include <fmt/format.h>

#include "gateway/hub/hub_state.hpp"

namespace backplane::gateway {

void Hub::begin_replay(Subscription& subscription) {
  subscription.join = std::make_unique<Join>();
  Join& join = *subscription.join;
  join.kind = Join::Kind::replay;
  if (const auto* from = std::get_if<AfterOffset>(subscription.since.get())) {
    join.next_offset = from->offset + 1;
  }
  answer(subscription);
  begin_feeding(subscription);
  join.request = broker_->replay(subscription.interest->pattern.str(), *subscription.since);
  replays_.emplace(join.request, &subscription);
}

void Hub::on_replayed(std::uint64_t request, const Delivery& delivery) {
  const auto found = replays_.find(request);
  if (found == replays_.end()) return;
  Subscription& subscription = *found->second;
  if (!subscription.interest->pattern.matches(delivery.topic)) return;
  Join& join = *subscription.join;
  join.next_offset = delivery.stamp.offset + 1;
  join.through_stream = stream_id(delivery.stamp.stream);
  join.through_position = delivery.stamp.position;
  ++counters_.replayed;
  const Format format = subscription.reader->format;
  if (encoder_.encode(format, delivery.topic, delivery.event, delivery.stamp, join.text)) return;
  ++counters_.undecodable;
  say_in_replay(subscription, {.kind = Notice::Kind::gap,
                               .topic = std::string(delivery.topic),
                               .stream = delivery.stamp.stream,
                               .first = delivery.stamp.offset,
                               .last = delivery.stamp.offset,
                               .reason = "undecodable"});
}

void Hub::say_in_replay(Subscription& subscription, const Notice& notice) {
  append_notice(subscription.reader->format, notice, subscription.join->text);
}

void Hub::on_replay_slice(std::uint64_t request, const ReplaySlice& slice) {
  const auto found = replays_.find(request);
  if (found == replays_.end()) return;
  Subscription& subscription = *found->second;
  Join& join = *subscription.join;
  const Pattern& pattern = subscription.interest->pattern;
  if (slice.reset) {
    say_in_replay(subscription, {.kind = Notice::Kind::reset,
                                 .topic = pattern.str(),
                                 .stream = slice.reset->new_stream,
                                 .reason = {}});
    join.next_offset = 0;
  }
  if (slice.gone) {
    const std::uint64_t next = slice.gone->first_available_offset;
    const bool known = pattern.is_exact() && next > 0;
    say_in_replay(subscription, {.kind = Notice::Kind::gap,
                                 .topic = pattern.str(),
                                 .stream = slice.through_stream,
                                 .first = known ? join.next_offset : 0,
                                 .last = known ? next - 1 : 0,
                                 .reason = name(GapReason::history_gone)});
  }
  if (slice.error) {
    say_in_replay(subscription, {.kind = Notice::Kind::gap,
                                 .topic = pattern.str(),
                                 .stream = slice.through_stream,
                                 .first = 0,
                                 .last = 0,
                                 .reason = name(GapReason::recovery_timeout)});
    return end_replay(subscription);
  }
  if (slice.complete) {
    join.through_stream = stream_id(slice.through_stream);
    join.through_position = slice.through_position;
    join.caught_up = true;
    if (join.asked_held) return end_replay(subscription);
  }
  if (join.text.empty()) {
    (void)replay_on(subscription);
    return;
  }
  give(*subscription.reader, std::make_shared<const std::string>(std::exchange(join.text, {})),
       /*notify_drained=*/true);
  notify_when_drained(subscription);
}

bool Hub::replay_on(Subscription& subscription) {
  Join& join = *subscription.join;
  // Where the replay has caught up, what comes from here on is kept, so that the next answer meets it.
  if (std::exchange(join.caught_up, false) && !join.buffered) {
    enter(subscription, /*buffered=*/true);
    join.buffered = true;
  }
  join.asked_held = join.buffered;
  broker_->replay_more(join.request);
  return true;
}

void Hub::end_replay(Subscription& subscription) {
  const Reader& reader = *subscription.reader;
  Join& join = *subscription.join;
  if (!join.text.empty()) {
    give(reader, std::make_shared<const std::string>(std::exchange(join.text, {})), /*notify_drained=*/false);
  }
  if (subscription.audience == nullptr) {
    enter(subscription, /*buffered=*/false);
  } else if (join.buffered) {
    auto skip = std::make_shared<fanout::Skip>();
    if (join.through_stream != fanout::no_stream) {
      skip->add_stream(join.through_stream, join.through_position);
    }
    outlet_.release_join_buffer(reader.id, subscription.audience->id, std::move(skip));
    const Place through{join.through_position, join.through_stream};
    if (!subscription.place.behind(through)) set_place(subscription, through);
  }
  subscription.in_force = true;
  subscription.since.reset();
  end_join(subscription);
}

}  // namespace backplane::gateway
