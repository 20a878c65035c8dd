// SUB … since: history, as fast as the client reads it, then live events.
//
// History is requested slice by slice. When a slice is complete up to some position, the client joins its
// audience with a join buffer, and one more slice is requested. The reply to that request is made after the
// client joined: every event that the broker publishes after the position named in the reply arrives live
// after the client joined, and is therefore in the join buffer or still to come. Everything up to that
// position has been sent by the replay, and the engine skips it. Between history and live events, nothing is
// missing and nothing arrives twice.
#include <utility>

#include "gateway/hub/hub_state.hpp"

namespace backplane::gateway {

void Hub::start_replay(Subscription& subscription) {
  subscription.backfill = std::make_unique<Backfill>();
  Backfill& backfill = *subscription.backfill;
  backfill.kind = Backfill::Kind::replay;
  if (const auto* from = std::get_if<AfterOffset>(subscription.since.get())) {
    backfill.next_offset = from->offset + 1;
  }
  confirm(subscription);
  mark_started(subscription);
  backfill.request = broker_->replay(subscription.pattern->pattern.str(), *subscription.since);
  replays_.emplace(backfill.request, &subscription);
}

void Hub::on_replayed(std::uint64_t request, const Delivery& delivery) {
  const auto found = replays_.find(request);
  if (found == replays_.end()) return;
  Subscription& subscription = *found->second;
  if (!subscription.pattern->pattern.matches(delivery.topic)) return;
  Backfill& backfill = *subscription.backfill;
  backfill.next_offset = delivery.stamp.offset + 1;
  backfill.advance({delivery.stamp.position, routes_.stream_id(delivery.stamp.stream)});
  ++counters_.replayed;
  // While the histories of several streams are read, one after the other, no id can name how far all are.
  Format format = subscription.client->format;
  if (format == Format::sse && broker_->live_positions().size() > 1) format = Format::sse_without_ids;
  if (encoder_.encode(format, delivery.topic, delivery.event, delivery.stamp, backfill.text)) return;
  ++counters_.undecodable;
  append_replay_notice(subscription, {.kind = Notice::Kind::gap,
                                      .topic = std::string(delivery.topic),
                                      .stream = delivery.stamp.stream,
                                      .first = delivery.stamp.offset,
                                      .last = delivery.stamp.offset,
                                      .reason = "undecodable"});
}

void Hub::append_replay_notice(Subscription& subscription, const Notice& notice) {
  append_notice(subscription.client->format, notice, subscription.backfill->text);
}

void Hub::on_replay_slice(std::uint64_t request, const ReplaySlice& slice) {
  const auto found = replays_.find(request);
  if (found == replays_.end()) return;
  Subscription& subscription = *found->second;
  Backfill& backfill = *subscription.backfill;
  const Pattern& pattern = subscription.pattern->pattern;
  if (slice.reset) {
    append_replay_notice(subscription, {.kind = Notice::Kind::reset,
                                        .topic = pattern.str(),
                                        .stream = slice.reset->new_stream,
                                        .reason = {}});
    backfill.next_offset = 0;
  }
  if (slice.gone) {
    const std::uint64_t next = slice.gone->first_available_offset;
    const bool known = pattern.is_exact() && next > 0;
    append_replay_notice(subscription, {.kind = Notice::Kind::gap,
                                        .topic = pattern.str(),
                                        .stream = slice.gone->stream,
                                        .first = known ? backfill.next_offset : 0,
                                        .last = known ? next - 1 : 0,
                                        .reason = name(GapReason::history_gone)});
  }
  if (slice.error) {
    append_replay_notice(subscription, {.kind = Notice::Kind::gap,
                                        .topic = pattern.str(),
                                        .stream = slice.through.empty() ? 0 : slice.through.back().stream,
                                        .first = 0,
                                        .last = 0,
                                        .reason = name(GapReason::recovery_timeout)});
    return finish_replay(subscription);
  }
  if (slice.complete) {
    for (const StreamPosition& each : slice.through) {
      backfill.advance({each.position, routes_.stream_id(each.stream)});
    }
    backfill.caught_up = true;
    if (backfill.requested_buffered) return finish_replay(subscription);
  }
  if (backfill.text.empty()) return continue_replay(subscription);
  send(*subscription.client, std::make_shared<const std::string>(std::exchange(backfill.text, {})),
       /*notify_when_drained=*/true);
  pause_until_drained(subscription);
}

void Hub::continue_replay(Subscription& subscription) {
  Backfill& backfill = *subscription.backfill;
  // Once the replay has caught up, live events are buffered from now on, and the next slice meets them.
  if (std::exchange(backfill.caught_up, false) && !backfill.buffered) {
    join_audience(subscription, /*buffered=*/true);
    backfill.buffered = true;
  }
  backfill.requested_buffered = backfill.buffered;
  broker_->replay_more(backfill.request);
}

void Hub::finish_replay(Subscription& subscription) {
  const Client& client = *subscription.client;
  Backfill& backfill = *subscription.backfill;
  if (!backfill.text.empty()) {
    send(client, std::make_shared<const std::string>(std::exchange(backfill.text, {})),
         /*notify_when_drained=*/false);
  }
  if (subscription.audience == nullptr) {
    join_audience(subscription, /*buffered=*/false);
  } else if (backfill.buffered) {
    auto skip = std::make_shared<fanout::Skip>();
    for (const EnginePosition& each : backfill.through) skip->add_stream(each.stream, each.position);
    outlet_.release_join_buffer(client.id, subscription.audience->id, std::move(skip));
    for (const EnginePosition& each : backfill.through) {
      const bool same = each.stream == subscription.start.stream || backfill.through.size() == 1;
      if (same && !subscription.start.covers(each)) set_start(subscription, each);
    }
  }
  subscription.active = true;
  subscription.since.reset();
  end_backfill(subscription);
}

}  // namespace backplane::gateway
