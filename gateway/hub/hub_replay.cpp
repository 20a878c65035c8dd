// SUB … since: history, as fast as the client reads it, then live events.
//
// History is requested slice by slice. When a slice is complete up to some position, the client joins its
// audience with a join buffer, and one more slice is requested. The reply to that request is made after the
// client joined: every event that the broker publishes after the position named in the reply arrives live
// after the client joined, and is therefore in the join buffer or still to come. Everything up to that
// position has been sent by the replay, and the engine skips it. Between history and live events, nothing is
// missing and nothing arrives twice.
//
// A client of Server-Sent Events gets an event once, even if several of its patterns match it. The histories
// of overlapping patterns are therefore sent one after the other. A later one leaves out what an earlier one,
// which is active by then, sends: from history or live. (In the other protocols each SUB is a request of its
// own, and gets its whole history.)

#include <algorithm>
#include <utility>

#include "gateway/encode/json_record.hpp"
#include "gateway/hub/hub_state.hpp"

namespace backplane::gateway {

namespace {

std::string_view take_token(std::string_view& rest) {
  const std::string_view token = rest.substr(0, rest.find('.'));
  rest.remove_prefix(std::min(token.size() + 1, rest.size()));
  return token;
}

/// Whether some topic matches both patterns. May be true for two that differ in $SYS only.
bool overlap(std::string_view a, std::string_view b) {
  while (!a.empty() && !b.empty()) {
    const std::string_view of_a = take_token(a);
    const std::string_view of_b = take_token(b);
    if (of_a == ">" || of_b == ">") return true;
    if (of_a != of_b && of_a != "*" && of_b != "*") return false;
  }
  return a.empty() && b.empty();
}

}  // namespace

void Hub::start_replay(Subscription& subscription) {
  subscription.backfill = std::make_unique<Backfill>();
  Backfill& backfill = *subscription.backfill;
  backfill.kind = Backfill::Kind::replay;
  if (const auto* from = std::get_if<AfterOffset>(subscription.since.get())) {
    backfill.next_offset = from->offset + 1;
  }
  confirm(subscription);
  mark_started(subscription);
  if (!waits_for_other_replay(subscription)) request_replay(subscription);
}

bool Hub::waits_for_other_replay(const Subscription& subscription) {
  const Client& client = *subscription.client;
  if (!is_sse(client.format) || client.subscriptions.size() == 1) return false;
  const std::string& own = subscription.pattern->pattern.str();
  return std::any_of(client.subscriptions.begin(), client.subscriptions.end(), [&](const auto& each) {
    const Subscription& other = each.second;
    if (&other == &subscription || !other.backfill || other.backfill->kind != Backfill::Kind::replay)
      return false;
    return (other.backfill->request != 0 || each.first < own) && overlap(each.first, own);
  });
}

void Hub::request_replay(Subscription& subscription) {
  const Client& client = *subscription.client;
  Backfill& backfill = *subscription.backfill;
  if (is_sse(client.format)) {
    for (const auto& [pattern, other] : client.subscriptions) {
      if (other.active && overlap(pattern, subscription.pattern->pattern.str()))
        backfill.others.push_back(&other);
    }
    // An id names one position for each stream. While the histories of several are read, one after the other,
    // no id can name how far all are.
    backfill.has_ids = client.format == Format::sse && broker_->live_positions().size() <= 1;
    if (const auto* after = std::get_if<AfterPositions>(subscription.since.get())) {
      for (const StreamPosition& each : after->positions) backfill.ids.advance(each.stream, each.position);
    }
  }
  backfill.request = broker_->replay(subscription.pattern->pattern.str(), *subscription.since);
  replays_.emplace(backfill.request, &subscription);
}

void Hub::request_waiting_replays(Client& client) {
  for (auto& [pattern, subscription] : client.subscriptions) {
    const Backfill* const backfill = subscription.backfill.get();
    if (backfill == nullptr || backfill->kind != Backfill::Kind::replay || backfill->request != 0) continue;
    if (!waits_for_other_replay(subscription)) request_replay(subscription);
  }
}

void Hub::on_replayed(std::uint64_t request, const Delivery& delivery) {
  const auto found = replays_.find(request);
  if (found == replays_.end()) return;
  Subscription& subscription = *found->second;
  if (!subscription.pattern->pattern.matches(delivery.topic)) return;
  if (subscription.filtered && !subscription.client->may_read(delivery.topic)) return;
  Backfill& backfill = *subscription.backfill;
  const wire::Stamp& stamp = delivery.stamp;
  backfill.next_offset = stamp.offset + 1;
  backfill.advance({stamp.position, routes_.stream_id(stamp.stream)});
  const bool sent_by_other =
      std::any_of(backfill.others.begin(), backfill.others.end(),
                  [&](const Subscription* other) { return other->pattern->pattern.matches(delivery.topic); });
  if (sent_by_other) return;
  ++counters_.replayed;
  Format format = subscription.client->format;
  if (format == Format::sse && !backfill.has_ids) format = Format::sse_without_ids;
  if (format == Format::sse) backfill.ids.advance(stamp.stream, stamp.position);
  if (encoder_.encode(format, delivery.topic, delivery.event, stamp, backfill.text,
                      {.resume_at = &backfill.ids.all()})) {
    return;
  }
  ++counters_.undecodable;
  append_replay_notice(subscription, {.kind = Notice::Kind::gap,
                                      .topic = std::string(delivery.topic),
                                      .stream = delivery.stamp.stream,
                                      .first = delivery.stamp.offset,
                                      .last = delivery.stamp.offset,
                                      .reason = "undecodable"});
}

void Hub::on_replayed_gap(std::uint64_t request, const Gap& gap) {
  const auto found = replays_.find(request);
  if (found == replays_.end()) return;
  Subscription& subscription = *found->second;
  if (!subscription.pattern->pattern.matches(gap.topic)) return;
  if (subscription.filtered && !subscription.client->may_read(gap.topic)) return;
  Backfill& backfill = *subscription.backfill;
  const bool sent_by_other =
      std::any_of(backfill.others.begin(), backfill.others.end(),
                  [&](const Subscription* other) { return other->pattern->pattern.matches(gap.topic); });
  std::uint64_t first = gap.first;
  if (subscription.pattern->pattern.is_exact()) {
    if (first == 0 && backfill.next_offset <= gap.last) first = backfill.next_offset;
    backfill.next_offset = gap.last + 1;
  }
  if (sent_by_other) return;
  append_replay_notice(subscription, {.kind = Notice::Kind::gap,
                                      .topic = std::string(gap.topic),
                                      .stream = gap.stream,
                                      .first = first,
                                      .last = gap.last,
                                      .reason = name(gap.reason)});
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
    std::erase_if(backfill.through, [old = routes_.find_stream(slice.reset->old_stream)](
                                        const EnginePosition& each) { return each.stream == old; });
    backfill.ids.replace(slice.reset->old_stream, {slice.reset->new_stream, 0});
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
    return finish_replay(subscription, reached().all());
  }
  if (slice.complete) {
    for (const StreamPosition& each : slice.through) {
      backfill.advance({each.position, routes_.stream_id(each.stream)});
    }
    backfill.caught_up = true;
    if (backfill.requested_buffered) return finish_replay(subscription, slice.through);
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

/// The positions from which the subscription's live events continue, `through` in the streams that were read.
/// Of the others, whose broker is away, the client gets what the reader receives once it is back. What it
/// missed before is lost to it.
StreamPositions Hub::joined_positions(Subscription& subscription, const StreamPositions& through) {
  StreamPositions joined = through;
  const auto* after = std::get_if<AfterPositions>(subscription.since.get());
  for (const StreamPosition& read : read_.all()) {
    if (position_in(through, read.stream)) continue;
    const auto known = after == nullptr ? std::nullopt : position_in(after->positions, read.stream);
    if (known && *known < read.position) {
      append_replay_notice(subscription, {.kind = Notice::Kind::gap,
                                          .topic = subscription.pattern->pattern.str(),
                                          .stream = read.stream,
                                          .first = 0,
                                          .last = 0,
                                          .reason = name(GapReason::recovery_timeout)});
    }
    joined.push_back({read.stream, std::max(read.position, known.value_or(0))});
  }
  return joined;
}

void Hub::finish_replay(Subscription& subscription, const StreamPositions& through) {
  Client& client = *subscription.client;
  Backfill& backfill = *subscription.backfill;
  note_joined(client, joined_positions(subscription, through));
  if (!backfill.text.empty()) {
    send(client, std::make_shared<const std::string>(std::exchange(backfill.text, {})),
         /*notify_when_drained=*/false);
  }
  if (subscription.audience == nullptr) {
    join_audience(subscription, /*buffered=*/false);
  } else if (backfill.buffered) {
    auto skip = std::make_shared<fanout::Skip>();
    for (const EnginePosition& each : backfill.through) skip->add_stream(each.stream, each.position);
    for (const Subscription* const other : backfill.others) skip->except(other->audience->id);
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
