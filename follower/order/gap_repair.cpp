#include "follower/order/gap_repair.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include "core/topic/topic.hpp"

namespace backplane::follower {
namespace {

/// Number of events that a buffered entry stands for: one, or those of a gap if their number is known.
std::uint64_t size_of(const std::optional<Gap>& gap) {
  if (!gap) return 1;
  return gap->first == 0 ? 0 : gap->last - gap->first + 1;
}

// More brokers than any installation has.
constexpr std::size_t streams_max = 4096;
constexpr std::chrono::seconds purge_interval{10};
constexpr std::uint64_t everything = std::numeric_limits<std::uint64_t>::max();

}  // namespace

GapRepair::GapRepair(const Options& options, GapRepairSink& sink) : options_(options), sink_(sink) {}
GapRepair::~GapRepair() = default;

bool GapRepair::subscribe(std::string_view prefix, std::uint64_t ticket) {
  return prefixes_.add(prefix, ticket);
}

bool GapRepair::unsubscribe(std::string_view prefix) {
  return prefixes_.remove(prefix);
}

// ---- streams ----

GapRepair::Stream* GapRepair::find_stream(std::uint64_t id) {
  for (const auto& stream : streams_) {
    if (stream->id == id) return stream.get();
  }
  return nullptr;
}

GapRepair::Stream& GapRepair::stream_of(std::uint64_t id) {
  if (recent_ != nullptr && recent_->id == id) return *recent_;
  recent_ = find_stream(id);
  if (recent_ != nullptr) return *recent_;
  const auto earlier = std::find_if(streams_.begin(), streams_.end(),
                                    [&](const auto& stream) { return origin(stream->id) == origin(id); });
  if (earlier != streams_.end()) {
    retire(**earlier, id);
    streams_.erase(earlier);
  }
  streams_.push_back(std::make_unique<Stream>());
  recent_ = streams_.back().get();
  recent_->id = id;
  return *recent_;
}

void GapRepair::retire(Stream& stream, std::uint64_t new_stream) {
  declare_lost_if(stream, GapReason::history_gone, [](auto, const Hole&) { return true; });
  release(stream, everything);
  if (replaying_ && replaying_->request.stream == stream.id) replaying_.reset();
  // All events of the new incarnation are expected, including those published before we were subscribed
  // again.
  prefixes_.rebase(stream.id, {new_stream, 0});
  if (current_stream_ == stream.id) set_current_stream(new_stream, 0);
  ++counters_.resets;
  sink_.reset(Reset{stream.id, new_stream});
}

bool GapRepair::is_of_another_origin(std::uint64_t id) const {
  return current_stream_ != 0 && std::none_of(streams_.begin(), streams_.end(), [&](const auto& stream) {
           return origin(stream->id) == origin(id);
         });
}

void GapRepair::keep_early(std::string_view topic, std::span<const std::byte> event,
                           const wire::Stamp& stamp) {
  // Those that do not fit are missing, and recovered if they are expected.
  if (early_bytes_ + topic.size() + event.size() > options_.reorder_buffer_bytes_max) return;
  early_bytes_ += topic.size() + event.size();
  const auto* bytes = reinterpret_cast<const char*>(event.data());
  early_.push_back({std::string(topic), std::string(bytes, event.size()), stamp});
}

void GapRepair::admit_early(std::uint64_t stream, Clock::time_point now) {
  early_bytes_ = 0;
  for (const Early& early : std::exchange(early_, {})) {
    if (early.stamp.stream == stream)
      on_event(early.topic, std::as_bytes(std::span(early.event)), early.stamp, now);
  }
}

void GapRepair::set_current_stream(std::uint64_t stream, std::uint64_t position) {
  current_stream_ = stream;
  verified_ = position;
  low_watermark_ = 0;
  tails_round_.reset();
  unconfirmed_tails_.clear();
  tails_up_to_ = 0;
}

void GapRepair::assume(std::span<const StreamPosition> positions) {
  for (const StreamPosition& each : positions) {
    if (streams_.size() < streams_max) stream_of(each.stream).arrived = each.position;
  }
}

void GapRepair::on_live_reply(std::uint64_t ticket, std::uint64_t stream, std::uint64_t position,
                              bool first_on_connection, Clock::time_point now) {
  if (position == 0 && is_of_another_origin(stream)) {
    const auto old = std::find_if(streams_.begin(), streams_.end(),
                                  [&](const auto& each) { return each->id == current_stream_; });
    if (old != streams_.end()) {
      retire(**old, stream);
      recent_ = nullptr;
      streams_.erase(old);
    }
  }
  const Stream& current = stream_of(stream);
  if (current_stream_ != stream) {
    // Another broker than before: what was active there is active here from now on.
    if (current_stream_ != 0) prefixes_.rebase(current_stream_, {stream, position});
    // Events may have arrived before the first live reply, and a connection may have been lost in between.
    set_current_stream(stream,
                       current.first_arrived == 0 ? position : std::min(position, current.first_arrived));
    tails_at_ = now + options_.tails_interval;
  }
  prefixes_.activate(ticket, {stream, position});
  // The topics of a new prefix have not been checked yet, nor are they in a round of Tails that is running.
  verified_ = std::min(verified_, position);
  low_watermark_ = std::min(low_watermark_, position);
  if (tails_round_) tails_round_->verified = std::min(tails_round_->verified, position);
  if (first_on_connection) tails_at_ = std::min(tails_at_, now);
  if (!early_.empty()) admit_early(stream, now);
}

// ---- events ----

void GapRepair::prefetch(std::span<const std::string_view> topics) {
  prefetched_.next = prefetched_.end = 0;
  if (recent_ == nullptr || topics.size() > prefetched_max) return;
  recent_->topics.look_up(topics, prefetched_.guesses);
  prefetched_.end = topics.size();
}

void GapRepair::on_event(std::string_view topic, std::span<const std::byte> event, const wire::Stamp& stamp,
                         Clock::time_point now) {
  const bool was_prefetched = prefetched_.next < prefetched_.end;
  const Topics::Guess guess = was_prefetched ? prefetched_.guesses[prefetched_.next++] : Topics::none;
  const bool is_new =
      (recent_ == nullptr || recent_->id != stamp.stream) && find_stream(stamp.stream) == nullptr;
  if (is_new && (check_topic(topic) != TopicFault::none || streams_.size() >= streams_max)) {
    ++counters_.undecodable;  // it must not look like a new incarnation of a broker
    return;
  }
  if (is_new && is_of_another_origin(stamp.stream)) return keep_early(topic, event, stamp);
  Stream& stream = stream_of(stamp.stream);
  if (stream.first_arrived == 0) stream.first_arrived = stamp.position;
  stream.arrived = std::max(stream.arrived, stamp.position);
  if (stamp.offset == 0) {  // not numbered
    ++counters_.expected;
    return forward(stream, Event{topic, event, stamp, false}, nullptr, now);
  }
  admit(stream, Event{topic, event, stamp, false, guess}, now);
}

void GapRepair::admit(Stream& stream, const Event& event, Clock::time_point now) {
  TopicState* const state = find_topic(stream, event.topic, event.guess);
  if (state == nullptr) return admit_first(stream, event, now);
  const wire::Stamp& stamp = event.stamp;
  if (stamp.offset <= state->offset) return fill_hole(stream, event, now);
  const TopicState before = *state;
  counters_.expected += stamp.offset - before.offset;
  state->offset = stamp.offset;
  state->position = stamp.position;
  if (stamp.offset > before.offset + 1) {
    open_hole(stream, event.topic,
              Hole{before.offset + 1,
                   stamp.offset - 1,
                   before.position,
                   stamp.previous,
                   stamp.position - 1,
                   {},
                   false},
              now);
  }
  forward(stream, event, &state->mark, now);
}

GapRepair::TopicState* GapRepair::find_topic(Stream& stream, std::string_view topic, Topics::Guess guess) {
  TopicState* const found = stream.topics.find(topic, guess);
  if (found == nullptr) return nullptr;
  TopicState& state = *found;
  if (state.prefix_checked == prefixes_.removals()) [[likely]]
    return &state;
  if (prefixes_.is_current(state.prefix)) {
    state.prefix_checked = prefixes_.removals();
    return &state;
  }
  // Its prefix was removed. If another has been active since the last event, nothing is missing.
  const auto prefix = prefixes_.match(topic);
  const auto start = prefix ? prefixes_.start(*prefix) : std::nullopt;
  if (start && start->stream == stream.id && start->position <= state.position) {
    state.prefix = *prefix;
    return &state;
  }
  stream.topics.erase(topic);
  return nullptr;
}

void GapRepair::admit_first(Stream& stream, const Event& event, Clock::time_point now) {
  const wire::Stamp& stamp = event.stamp;
  if (check_topic(event.topic) != TopicFault::none) {
    ++counters_.undecodable;
    return;
  }
  const auto prefix = prefixes_.match(event.topic);
  if (!prefix) return;  // unsubscribed meanwhile
  auto start = prefixes_.start(*prefix);
  if (start && start->stream != stream.id) start.reset();
  if (event.replayed && (!start || stamp.position <= start->position))
    return;  // before the subscription was active
  TopicState& state = stream.topics.add(event.topic, TopicState{stamp.offset, stamp.position, *prefix});
  ++counters_.expected;
  if (start && stamp.previous > start->position && stamp.offset > 1) {
    const std::uint64_t first = start->position == 0 ? 1 : 0;
    if (first > 0) counters_.expected += stamp.offset - first;
    open_hole(stream, event.topic,
              Hole{first, stamp.offset - 1, start->position, stamp.previous, stamp.position - 1, {}, false},
              now);
  }
  forward(stream, event, &state.mark, now);
}

void GapRepair::fill_hole(Stream& stream, const Event& event, Clock::time_point now) {
  const wire::Stamp& stamp = event.stamp;
  const auto of_topic = stream.holes.find(event.topic);
  if (of_topic == stream.holes.end()) {
    ++counters_.duplicates;
    return;
  }
  std::vector<Hole>& holes = of_topic->second;
  const auto found = std::find_if(holes.begin(), holes.end(), [&](const Hole& hole) {
    return stamp.offset <= hole.last && stamp.offset >= hole.first && stamp.position > hole.after;
  });
  if (found == holes.end()) {
    ++counters_.duplicates;
    return;
  }
  const Hole hole = *found;
  holes.erase(found);
  // Where the hole begins was unknown. The number of events after this one is known now.
  if (hole.first == 0) counters_.expected += hole.last - stamp.offset + 1;
  Hole left = hole;
  left.last = stamp.offset - 1;
  left.until = stamp.previous;
  left.lost_through = stamp.position - 1;
  const bool left_open = hole.first != 0 ? stamp.offset > hole.first : stamp.previous > hole.after;
  if (left_open && left.last > 0) holes.push_back(left);
  Hole right = hole;
  right.first = stamp.offset + 1;
  right.after = stamp.position;
  if (right.first <= right.last) holes.push_back(right);
  if (holes.empty()) stream.holes.erase(of_topic);
  buffer(stream, event, now);
  if (!event.replayed) release_ready(stream, now);
}

bool GapRepair::is_replaying_range(const Stream& stream) const noexcept {
  return replaying_ && replaying_->whole_range && replaying_->request.stream == stream.id;
}

void GapRepair::forward(Stream& stream, const Event& event, std::uint64_t* mark, Clock::time_point now) {
  if (!stream.holes.empty() || !stream.reorder_buffer.empty() || is_replaying_range(stream))
    return buffer(stream, event, now);
  deliver(stream, Delivery{event.topic, event.bytes, event.stamp, false, mark}, event.replayed);
}

void GapRepair::buffer(Stream& stream, const Event& event, Clock::time_point now) {
  // Events without an offset cannot be recovered.
  if (reorder_buffer_full_ && !event.replayed && event.stamp.offset != 0) return discard(stream, event, now);
  const auto* bytes = reinterpret_cast<const char*>(event.bytes.data());
  stream.reorder_buffer.emplace(event.stamp.position,
                                Buffered{std::string(event.topic), std::string(bytes, event.bytes.size()),
                                         event.stamp, event.replayed, std::nullopt});
  stream.arrivals.push_back({run_time_, event.stamp.position});
  reorder_buffer_bytes_ += event.topic.size() + event.bytes.size();
  reorder_buffer_full_ |= reorder_buffer_bytes_ >= options_.reorder_buffer_bytes_max;
  // Recovered events fill it further only if the first hole cannot be recovered: choose_lowest() requests
  // that.
  if (reorder_buffer_bytes_ <= 2 * options_.reorder_buffer_bytes_max) return;
  declare_lost_if(stream, GapReason::recovery_timeout, [](auto, const Hole&) { return true; });
  release_ready(stream, now);
}

/// The event is missing from now on. It is in history, like those that it would have waited for.
void GapRepair::discard(Stream& stream, const Event& event, Clock::time_point now) {
  ++counters_.discarded;
  const wire::Stamp& stamp = event.stamp;
  if (const auto of_topic = stream.holes.find(event.topic); of_topic != stream.holes.end()) {
    for (Hole& hole : of_topic->second) {
      if (hole.last + 1 != stamp.offset) continue;
      hole.last = stamp.offset;
      hole.until = hole.lost_through = stamp.position;
      return;
    }
  }
  open_hole(stream, event.topic,
            Hole{stamp.offset, stamp.offset, stamp.previous, stamp.position, stamp.position, {}, false}, now);
}

void GapRepair::deliver(Stream& stream, const Delivery& event, bool replayed) {
  ++(replayed ? counters_.recovered : counters_.seen);
  Delivery delivery = event;
  delivery.late = event.stamp.position < stream.delivered;
  if (delivery.late) ++counters_.late;
  stream.delivered = std::max(stream.delivered, event.stamp.position);
  delivery.resume_at = resume_position(stream);
  sink_.deliver(delivery);
}

std::uint64_t GapRepair::resume_position(const Stream& stream) const noexcept {
  if (stream.id != current_stream_) return stream.delivered;
  const bool complete = doubt_until_ == 0 && stream.holes.empty() && stream.reorder_buffer.empty() &&
                        !is_replaying_range(stream);
  return complete ? stream.delivered : low_watermark_;
}

// ---- holes ----

void GapRepair::open_hole(Stream& stream, std::string_view topic, Hole hole, Clock::time_point now) {
  run_until(now);
  hole.opened = run_time_;
  // $SYS. topics do not match the common pattern of other topics.
  hole.replay_alone = is_system_topic(topic);
  auto of_topic = stream.holes.find(topic);
  if (of_topic == stream.holes.end()) of_topic = stream.holes.try_emplace(std::string(topic)).first;
  of_topic->second.push_back(hole);
}

void GapRepair::declare_lost(Stream& stream, std::string_view topic, const Hole& hole, GapReason reason) {
  Buffered buffered{
      std::string(topic), {}, {}, false, Gap{stream.id, {}, hole.first, hole.last, reason, hole.until}};
  stream.reorder_buffer.emplace(hole.until, std::move(buffered));
}

void GapRepair::declare_lost_if(Stream& stream, GapReason reason, const Condition& condition) {
  for (auto of_topic = stream.holes.begin(); of_topic != stream.holes.end();) {
    std::erase_if(of_topic->second, [&](const Hole& hole) {
      if (!condition(of_topic->first, hole)) return false;
      declare_lost(stream, of_topic->first, hole, reason);
      return true;
    });
    of_topic = of_topic->second.empty() ? stream.holes.erase(of_topic) : std::next(of_topic);
  }
}

void GapRepair::release_ready(Stream& stream, Clock::time_point now) {
  run_until(now);
  if (stream.holes.empty() && stream.reorder_buffer.empty()) return;
  declare_lost_if(stream, GapReason::recovery_timeout,
                  [&](auto, const Hole& hole) { return is_overdue(hole.opened); });
  std::uint64_t keeps_topics_in_order = everything;
  for (const auto& [topic, holes] : stream.holes) {
    for (const Hole& hole : holes) {
      keeps_topics_in_order = std::min(keeps_topics_in_order, hole.lost_through);
    }
  }
  while (!stream.arrivals.empty() && is_overdue(stream.arrivals.front().at)) {
    stream.overdue = std::max(stream.overdue, stream.arrivals.front().position);
    stream.arrivals.pop_front();
  }
  release(stream, std::max(complete_through(stream), std::min(stream.overdue, keeps_topics_in_order)));
}

/// The position up to which nothing can be missing, as far as is known.
std::uint64_t GapRepair::complete_through(const Stream& stream) const {
  // In a range that is being replayed, more events may be missing than is known yet.
  const bool range = is_replaying_range(stream);
  std::uint64_t through = range ? replaying_->progress : everything;
  for (const auto& [topic, holes] : stream.holes) {
    for (const Hole& hole : holes) {
      if (hole.after >= through) continue;
      // What the replay has passed is not in the hole.
      const bool covered = range && !hole.replay_alone && hole.after >= replaying_->covered_after &&
                           replaying_->whole_range->matches(topic);
      if (!covered) through = hole.after;
    }
  }
  return through;
}

void GapRepair::release(Stream& stream, std::uint64_t up_to) {
  while (!stream.reorder_buffer.empty() && stream.reorder_buffer.begin()->first <= up_to) {
    const auto node = stream.reorder_buffer.extract(stream.reorder_buffer.begin());
    const Buffered& buffered = node.mapped();
    if (!buffered.gap) reorder_buffer_bytes_ -= buffered.topic.size() + buffered.event.size();
    if (!prefixes_.match(buffered.topic)) {  // unsubscribed meanwhile
      counters_.unwanted += size_of(buffered.gap);
    } else if (buffered.gap) {
      announce(buffered);
    } else {
      deliver(stream, Delivery{buffered.topic, std::as_bytes(std::span(buffered.event)), buffered.stamp},
              buffered.replayed);
    }
  }
  if (2 * reorder_buffer_bytes_ <= options_.reorder_buffer_bytes_max) reorder_buffer_full_ = false;
  if (!stream.reorder_buffer.empty()) return;
  stream.arrivals.clear();
  stream.overdue = 0;
}

void GapRepair::announce(const Buffered& buffered) {
  Gap gap = *buffered.gap;
  gap.topic = buffered.topic;
  ++counters_.gaps;
  if (gap.first == 0) ++counters_.gaps_of_unknown_size;
  switch (gap.reason) {
    case GapReason::history_gone:
      counters_.lost_history_gone += size_of(gap);
      break;
    case GapReason::recovery_timeout:
      counters_.lost_recovery_timeout += size_of(gap);
      break;
    case GapReason::damaged:
      counters_.lost_damaged += size_of(gap);
      break;
    case GapReason::lost_upstream:
      counters_.lost_upstream += size_of(gap);
      break;
  }
  sink_.gap(gap);
}

bool GapRepair::may_arrive(std::string_view topic, const wire::Stamp& stamp) const {
  const auto found = std::find_if(streams_.begin(), streams_.end(),
                                  [&](const auto& each) { return each->id == stamp.stream; });
  if (found == streams_.end()) return false;
  Stream& stream = **found;
  if (stream.id == current_stream_ && stamp.position <= low_watermark_) return false;
  const auto prefix = prefixes_.match(topic);
  if (!prefix) return false;
  const auto& start = prefixes_.start(*prefix);
  if (!start) return true;  // it is not known yet where the subscription begins
  const bool is_read = start->stream == stream.id;
  const TopicState* const state = stream.topics.find(topic);
  // As in find_topic().
  const bool is_followed = state != nullptr && (prefixes_.is_current(state->prefix) ||
                                                (is_read && start->position <= state->position));
  if (!is_followed) return is_read && stamp.position > start->position;
  if (stamp.offset > state->offset) return true;
  if (const auto of_topic = stream.holes.find(topic); of_topic != stream.holes.end()) {
    const auto is_in = [&](const Hole& hole) {
      return stamp.offset >= hole.first && stamp.offset <= hole.last && stamp.position > hole.after;
    };
    if (std::any_of(of_topic->second.begin(), of_topic->second.end(), is_in)) return true;
  }
  const auto [first, end] = stream.reorder_buffer.equal_range(stamp.position);
  return std::any_of(first, end, [&](const auto& each) { return each.second.topic == topic; });
}

std::uint64_t GapRepair::awaited() const {
  std::uint64_t count = 0;
  for (const auto& stream : streams_) {
    for (const auto& [topic, holes] : stream->holes) {
      for (const Hole& hole : holes) count += hole.first == 0 ? 0 : hole.last - hole.first + 1;
    }
    for (const auto& [position, buffered] : stream->reorder_buffer) count += size_of(buffered.gap);
  }
  return count;
}

// ---- time ----

/// Counts the time since the last call, but at most step_max() of it: a longer one means that the reader did
/// not run, because next_deadline() is earlier than that.
void GapRepair::run_until(Clock::time_point now) {
  if (now <= run_until_) return;
  if (time_counts_) run_time_ += std::min(now - run_until_, step_max());
  run_until_ = now;
}

GapRepair::Clock::duration GapRepair::step_max() const {
  return std::max<Clock::duration>(options_.recovery_limit / 4, std::chrono::milliseconds{1});
}

bool GapRepair::is_overdue(Clock::duration since) const {
  return run_time_ - std::max(since, advanced_) >= options_.recovery_limit;
}

void GapRepair::tick(Clock::time_point now, bool drained, bool connected) {
  time_counts_ = connected || drained;
  run_until(now);
  check_tails(now, drained);
  for (const auto& stream : streams_) release_ready(*stream, now);
  purge_topics(now);
  find_low_watermark();
}

void GapRepair::find_low_watermark() {
  const Stream* const stream = find_stream(current_stream_);
  if (stream == nullptr || !unconfirmed_tails_.empty()) return;
  std::uint64_t low_watermark = verified_;
  if (is_replaying_range(*stream)) low_watermark = std::min(low_watermark, replaying_->covered_after);
  for (const auto& [topic, holes] : stream->holes) {
    for (const Hole& hole : holes) low_watermark = std::min(low_watermark, hole.after);
  }
  if (!stream->reorder_buffer.empty())
    low_watermark = std::min(low_watermark, stream->reorder_buffer.begin()->first - 1);
  low_watermark_ = std::max(low_watermark_, low_watermark);
  if (low_watermark_ >= doubt_until_) doubt_until_ = 0;
}

GapRepair::Clock::time_point GapRepair::next_deadline() const {
  auto first = Clock::duration::max();  // of what waits
  for (const auto& stream : streams_) {
    for (const auto& [topic, holes] : stream->holes) {
      for (const Hole& hole : holes) first = std::min(first, hole.opened);
    }
    if (!stream->arrivals.empty()) first = std::min(first, stream->arrivals.front().at);
  }
  auto earliest = Clock::time_point::max();
  if (first != Clock::duration::max()) {
    const auto left = std::max(first, advanced_) + options_.recovery_limit - run_time_;
    earliest = run_until_ + std::clamp<Clock::duration>(left, Clock::duration::zero(), step_max() / 2);
  }
  if (!unconfirmed_tails_.empty()) earliest = std::min(earliest, tails_noted_at_ + options_.tails_grace);
  return earliest;
}

void GapRepair::purge_topics(Clock::time_point now) {
  if (now < purge_at_ || purged_removals_ == prefixes_.removals()) return;
  purge_at_ = now + purge_interval;
  purged_removals_ = prefixes_.removals();
  for (const auto& stream : streams_) {
    stream->topics.erase_if([&](std::string_view topic, const TopicState& state) {
      return !prefixes_.is_current(state.prefix) && !prefixes_.match(topic);
    });
  }
}

}  // namespace backplane::follower
