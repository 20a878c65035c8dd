// What a GapRepair requests from the broker: Replay for known holes, Tails to find unknown ones.

#include <algorithm>
#include <utility>

#include "core/topic/pattern.hpp"
#include "core/topic/topic.hpp"
#include "core/wire/stamp.hpp"
#include "follower/order/gap_repair.hpp"

namespace backplane::follower {
namespace {

// Holes are requested together, with everything else in their range, if that brings at most this many events
// per hole that are not missing: about the cost of the round trips that it saves.
constexpr std::uint64_t others_per_hole_max = 256;
// Above this, a common pattern is not worth looking for.
constexpr std::size_t common_prefixes_max = 1024;
// A request with more patterns costs the broker more than tails of topics that are not subscribed to.
constexpr std::size_t tails_patterns_max = 256;
// Rounds of Tails take at most a twentieth of the time, however many topics there are.
constexpr int tails_share = 20;

}  // namespace

// ---- replay ----

std::optional<ReplayRequest> GapRepair::next_replay(Clock::time_point now) {
  if (replaying_) {
    if (std::exchange(replaying_->sent, true)) return std::nullopt;
    return replaying_->request;
  }
  if (now < replay_at_) return std::nullopt;
  replaying_ = choose_replay();
  if (!replaying_) return std::nullopt;
  replaying_->sent = true;
  replaying_->request.number = ++last_request_;
  return replaying_->request;
}

std::optional<GapRepair::Replaying> GapRepair::choose_replay() const {
  const auto stream = std::find_if(streams_.begin(), streams_.end(),
                                   [](const auto& candidate) { return !candidate->holes.empty(); });
  if (stream == streams_.end()) return std::nullopt;
  if (reorder_buffer_full_) return choose_lowest(**stream);

  const Hole* urgent = nullptr;  // the one that was opened first
  std::string_view topic_of_urgent;
  std::uint64_t after = ~std::uint64_t{0};
  std::uint64_t until = 0;
  std::uint64_t worth = 0;  // of the holes that can be replayed together, in events
  for (const auto& [topic, holes] : (*stream)->holes) {
    for (const Hole& hole : holes) {
      if (urgent == nullptr || hole.opened < urgent->opened) {
        urgent = &hole;
        topic_of_urgent = topic;
      }
      if (hole.replay_alone) continue;
      worth += others_per_hole_max + (hole.first == 0 ? 1 : hole.last - hole.first + 1);
      after = std::min(after, hole.after);
      until = std::max(until, hole.lost_through);
    }
  }
  if (urgent == nullptr) return std::nullopt;
  // Events are lost in runs, over all topics, and most topics show it later. A short range is replayed as a
  // whole, which recovers the losses of the other topics in their place too.
  if (!urgent->replay_alone && until - after <= worth) {
    const std::string common = prefixes_.common_pattern(common_prefixes_max);
    const auto pattern = Pattern::parse(common);
    if (pattern && pattern->matches(topic_of_urgent)) {
      return Replaying{{0, (*stream)->id, common, after, until, {}}, after, after, *pattern, false, {}};
    }
  }
  return Replaying{{0, (*stream)->id, std::string(topic_of_urgent), urgent->after, urgent->until, {}},
                   urgent->after,
                   urgent->after,
                   std::nullopt,
                   false,
                   {}};
}

/// Only what the first hole holds back empties the buffer. It is replayed together with the holes right after
/// it, in order of positions, so that what is recovered does not wait for anything.
std::optional<GapRepair::Replaying> GapRepair::choose_lowest(const Stream& stream) const {
  struct Candidate {
    std::string_view topic;
    Hole hole;
  };
  std::vector<Candidate> candidates;
  for (const auto& [topic, holes] : stream.holes) {
    for (const Hole& hole : holes) candidates.push_back({topic, hole});
  }
  if (candidates.empty()) return std::nullopt;
  std::sort(candidates.begin(), candidates.end(),
            [](const Candidate& a, const Candidate& b) { return a.hole.after < b.hole.after; });
  const Candidate& lowest = candidates.front();
  const Hole& first = lowest.hole;
  if (!first.replay_alone) {
    const std::string common = prefixes_.common_pattern(common_prefixes_max);
    const auto pattern = Pattern::parse(common);
    if (pattern && pattern->matches(lowest.topic)) {
      std::uint64_t until = first.lost_through;
      for (const Candidate& each : candidates) {
        if (each.hole.after > until + others_per_hole_max) break;
        if (!each.hole.replay_alone) until = std::max(until, each.hole.lost_through);
      }
      return Replaying{
          {0, stream.id, common, first.after, until, {}}, first.after, first.after, *pattern, false, {}};
    }
  }
  return Replaying{{0, stream.id, std::string(lowest.topic), first.after, first.until, {}},
                   first.after,
                   first.after,
                   std::nullopt,
                   false,
                   {}};
}

void GapRepair::on_replay_reply(std::uint64_t number, const ReplayReply& reply, Clock::time_point now) {
  if (!replaying_ || replaying_->request.number != number) return;
  Stream* const stream = find_stream(replaying_->request.stream);
  if (stream == nullptr) return replaying_.reset();
  // Each reply advances the recovery: it has another cursor or begins later than the one before, or is the
  // last.
  run_until(now);
  advanced_ = replied_ = run_time_;
  for (const ReplayReply::Stored& stored : reply.events) {
    const auto stamp = wire::read_stamp(stored.event);
    if (!stamp || stamp->stream != stream->id || stamp->position > replaying_->request.until) {
      ++counters_.undecodable;
      continue;
    }
    replaying_->progress = std::max(replaying_->progress, stamp->position);
    admit(*stream, Event{stored.topic, stored.event, *stamp, true}, now);
  }
  for (const ReplayReply::Destroyed& each : reply.destroyed) {
    replaying_->destroyed.push_back({std::string(each.topic), each.first, each.last, each.upstream});
  }
  ReplayRequest& request = replaying_->request;
  switch (reply.end) {
    case ReplayReply::End::complete:
      return finish_replay(*stream, now);
    case ReplayReply::End::more:
      if (reply.cursor.empty() || reply.cursor == request.cursor) return finish_replay(*stream, now);
      request.cursor = reply.cursor;
      replaying_->sent = false;
      // Nothing of these can come. The topic's next events must not be released before they are announced.
      declare_destroyed(*stream, replaying_->destroyed, [](auto, const Hole& hole, const auto& each) {
        return (hole.first == 0 || each.first <= hole.first) && hole.last <= each.last;
      });
      release_ready(*stream, now);
      // The rest is not missing, or another hole is the first now and has to be recovered to empty the
      // buffer.
      if (replaying_->whole_range) {
        if (reorder_buffer_full_ && complete_through(*stream) < replaying_->progress) replaying_.reset();
      } else if (stream->holes.empty() || reorder_buffer_full_) {
        replaying_.reset();
      }
      return;
    case ReplayReply::End::gone:
      // One reply for several topics does not say what history holds of each.
      if (replaying_->whole_range) return replay_each_hole(*stream);
      if (reply.first_available > request.until || reply.first_available <= request.after + 1) {
        return finish_replay(*stream, now);
      }
      request.after = reply.first_available - 1;
      request.cursor.clear();
      replaying_->sent = false;
      return;
  }
}

void GapRepair::on_replay_progress(std::uint64_t number, Clock::time_point now) {
  if (!replaying_ || replaying_->request.number != number) return;
  run_until(now);
  // Since the last reply, or since the first hole that it is to fill was found.
  const Stream* const stream = find_stream(replaying_->request.stream);
  if (stream == nullptr) return;
  Clock::duration since = run_time_;
  for (const auto& [topic, holes] : stream->holes) {
    for (const Hole& hole : holes) since = std::min(since, hole.opened);
  }
  if (run_time_ - std::max(since, replied_) < options_.reply_limit) advanced_ = run_time_;
}

void GapRepair::on_replay_failed(std::uint64_t number, bool refused, Clock::time_point now) {
  if (!replaying_ || replaying_->request.number != number) return;
  Stream* const stream = find_stream(replaying_->request.stream);
  if (stream == nullptr) return replaying_.reset();
  ReplayRequest& request = replaying_->request;
  const bool progressed = replaying_->progress > request.after;
  if (refused && !request.cursor.empty() && (progressed || !replaying_->restarted)) {
    // The cursor is of the broker's process before this one. What has arrived is known without it.
    request.after = std::max(request.after, replaying_->progress);
    request.cursor.clear();
    replaying_->restarted = true;
    replaying_->sent = false;
    return;
  }
  if (refused && replaying_->whole_range) return replay_each_hole(*stream);
  if (refused) return finish_replay(*stream, now);
  replaying_.reset();
  replay_at_ = now + options_.retry_interval;
}

void GapRepair::finish_replay(Stream& stream, Clock::time_point now) {
  const Replaying done = std::move(*replaying_);
  replaying_.reset();
  const auto pattern = Pattern::parse(done.request.pattern);
  const auto is_covered = [&](std::string_view topic, const Hole& hole) {
    return hole.after >= done.covered_after && hole.until <= done.request.until && pattern &&
           pattern->matches(topic);
  };
  declare_destroyed(stream, done.destroyed, [&](std::string_view topic, const Hole& hole, const auto& each) {
    return is_covered(topic, hole) && each.first <= hole.last && hole.first <= each.last;
  });
  // What is still missing in the range is no longer in history.
  declare_lost_if(stream, GapReason::history_gone, is_covered);
  release_ready(stream, now);
}

/// Declares holes lost that destroyed events explain.
template <class Explains>
void GapRepair::declare_destroyed(Stream& stream, const std::vector<Replaying::Destroyed>& destroyed,
                                  const Explains& explains) {
  for (const bool upstream : {false, true}) {
    const GapReason reason = upstream ? GapReason::lost_upstream : GapReason::damaged;
    declare_lost_if(stream, reason, [&](std::string_view topic, const Hole& hole) {
      return std::ranges::any_of(destroyed, [&](const Replaying::Destroyed& each) {
        return each.upstream == upstream && each.topic == topic && explains(topic, hole, each);
      });
    });
  }
}

void GapRepair::replay_each_hole(Stream& stream) {
  replaying_.reset();
  for (auto& [topic, holes] : stream.holes) {
    for (Hole& hole : holes) hole.replay_alone = true;
  }
}

// ---- tails ----

std::optional<TailsRequest> GapRepair::next_tails(Clock::time_point now) {
  if (current_stream_ == 0 || prefixes_.empty()) return std::nullopt;
  if (!tails_round_) {
    if (now < tails_at_) return std::nullopt;
    tails_at_ = now + options_.tails_interval;
    if (prefixes_.patterns(tails_patterns_max).empty()) return std::nullopt;
    tails_round_ = TailsRound{};
    tails_round_->number = ++last_request_;
    tails_round_->after = verified_;
    tails_round_->verified = ~std::uint64_t{0};
    tails_round_->started = now;
  }
  if (std::exchange(tails_round_->sent, true)) return std::nullopt;
  return TailsRequest{tails_round_->number, prefixes_.patterns(tails_patterns_max), tails_round_->after,
                      tails_round_->cursor};
}

void GapRepair::on_tails_reply(std::uint64_t number, const TailsReply& reply, Clock::time_point now) {
  if (!tails_round_ || tails_round_->number != number) return;
  Stream* const stream = find_stream(current_stream_);
  // A reply can be ahead of egress, but a new incarnation must be noticed there.
  if (stream == nullptr || reply.stream != current_stream_) return on_tails_failed(number, now);
  if (!std::exchange(tails_round_->replied, true)) {
    tails_round_->verified = std::min(tails_round_->verified, reply.position);
  }
  for (const TailsReply::Tail& tail : reply.tails) note_tail(*stream, tail, now);
  if (reply.cursor.empty() || reply.cursor == tails_round_->cursor) {
    verified_ = tails_round_->verified;
    const auto pause = tails_share * (now - tails_round_->started);
    return end_tails_round(std::max<Clock::duration>(options_.tails_interval, pause), now);
  }
  tails_round_->cursor = reply.cursor;
  tails_round_->sent = false;
}

void GapRepair::on_tails_failed(std::uint64_t number, Clock::time_point now) {
  if (tails_round_ && tails_round_->number == number) end_tails_round(options_.tails_interval, now);
}

void GapRepair::end_tails_round(Clock::duration rest, Clock::time_point now) {
  tails_at_ = now + rest;
  tails_round_.reset();
}

void GapRepair::note_tail(Stream& stream, const TailsReply::Tail& tail, Clock::time_point now) {
  const TopicState* const state = find_topic(stream, tail.topic);
  if (state != nullptr && state->offset >= tail.offset) return;
  if (state == nullptr) {
    const auto prefix = prefixes_.match(tail.topic);
    const auto start = prefix ? prefixes_.start(*prefix) : std::nullopt;
    if (!start || start->stream != stream.id || tail.position <= start->position) return;
  }
  tails_noted_at_ = now;
  unconfirmed_tails_.push_back({std::string(tail.topic), tail.position, tail.offset});
  tails_up_to_ = std::max(tails_up_to_, tail.position);
}

void GapRepair::check_tails(Clock::time_point now, bool drained) {
  if (unconfirmed_tails_.empty() || now < tails_noted_at_ + options_.tails_grace) return;
  Stream* const stream = find_stream(current_stream_);
  if (stream == nullptr) return unconfirmed_tails_.clear();
  // While there is more to receive, it may contain what a tail shows, unless the stream is past that.
  if (!drained && stream->arrived < tails_up_to_) return;
  tails_up_to_ = 0;
  for (const UnconfirmedTail& tail : std::exchange(unconfirmed_tails_, {})) {
    TopicState* const state = find_topic(*stream, tail.topic);
    if (state != nullptr) {
      if (state->offset >= tail.offset) continue;
      counters_.expected += tail.offset - state->offset;
      open_hole(
          *stream, tail.topic,
          Hole{state->offset + 1, tail.offset, state->position, tail.position, tail.position, {}, false},
          now);
      state->offset = tail.offset;
      state->position = tail.position;
      continue;
    }
    if (check_topic(tail.topic) != TopicFault::none) continue;
    const auto prefix = prefixes_.match(tail.topic);
    const auto start = prefix ? prefixes_.start(*prefix) : std::nullopt;
    if (!start || start->stream != stream->id || tail.position <= start->position) continue;
    stream->topics.add(tail.topic, TopicState{tail.offset, tail.position, *prefix});
    const std::uint64_t first = start->position == 0 ? 1 : 0;
    if (first > 0) counters_.expected += tail.offset;
    open_hole(*stream, tail.topic,
              Hole{first, tail.offset, start->position, tail.position, tail.position, {}, false}, now);
  }
}

GapRepair::Clock::time_point GapRepair::request_deadline() const {
  const bool holes = std::any_of(streams_.begin(), streams_.end(),
                                 [](const auto& stream) { return !stream->holes.empty(); });
  auto earliest = Clock::time_point::max();
  if (replaying_) {
    if (!replaying_->sent) earliest = Clock::time_point::min();
  } else if (holes) {
    earliest = replay_at_;
  }
  if (current_stream_ == 0 || prefixes_.empty()) return earliest;
  if (!tails_round_) return std::min(earliest, tails_at_);
  return tails_round_->sent ? earliest : Clock::time_point::min();
}

}  // namespace backplane::follower
