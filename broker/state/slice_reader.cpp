#include "broker/state/slice_reader.hpp"

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

namespace backplane::broker {
namespace {

using Phase = HistoryCursor::Phase;
using End = ReadSlice::End;

// A check that was overtaken by too many drops restarts with twice the work per slice. Even with the maximum
// number of topics, it completes within one slice before this limit.
constexpr std::uint8_t restarts_max = 8;

// A filter of many patterns makes each examined event more expensive.
std::size_t scans_max(const HistoryWork& work, const ReadRequest& request) {
  const std::size_t patterns = request.filter == nullptr ? 0 : request.filter->patterns().size();
  return std::max<std::size_t>(work.scan_events_max / (1 + patterns / 16), 1);
}

}  // namespace

SliceReader::SliceReader(const KeptEvents& events, const ReadRequest& request, std::uint32_t incarnation)
    : events_(events),
      request_(request),
      incarnation_(incarnation),
      hash_(request_hash(request)),
      until_(request.until_position == 0 ? std::numeric_limits<std::uint64_t>::max()
                                         : request.until_position),
      scans_left_(scans_max(events.work(), request)) {}

ReadSlice SliceReader::read(bool all_expired) {
  if (request_.what == ReadRequest::What::retained) return read_retained();
  if (!begin_history()) {
    ReadSlice slice;
    slice.end = End::bad_cursor;
    return slice;
  }
  if (!all_expired) return more({});
  return request_.pattern.is_exact() ? read_topic() : read_pattern();
}

// Sets the start of the read: from the request, or from its cursor.
bool SliceReader::begin_history() {
  if (request_.cursor.empty()) {
    if (request_.what == ReadRequest::What::after_position) at_.position = request_.position;
    if (request_.what == ReadRequest::What::since_time) at_.since = events_.clock().of(request_.since_ns);
    return true;
  }
  const auto cursor = decode_history(request_.cursor, incarnation_, hash_);
  if (!cursor || cursor->restarts > restarts_max || cursor->drops_seen > events_.drops().total())
    return false;
  at_ = *cursor;
  return true;
}

// --- values ---

ReadSlice SliceReader::read_retained() {
  ReadSlice slice;
  slice.valid_ns = events_.shortest_ttl_ns();
  std::string_view after;
  if (!request_.cursor.empty()) {
    const auto name = decode_retained(request_.cursor, incarnation_, hash_);
    if (!name) {
      slice.end = End::bad_cursor;
      return slice;
    }
    after = *name;
  }
  const Pattern& pattern = request_.pattern;
  if (pattern.is_exact()) {
    const KeptTopic* const topic = events_.topics().find(pattern.str());
    if (topic != nullptr && topic->name_view() > after) add_retained(slice, *topic);
    return slice;
  }
  const std::string_view prefix = pattern.literal_prefix();
  std::string_view looked_at = after;
  events_.topics().by_name().visit_from(std::max(prefix, after), [&](const KeptTopic& topic) {
    const std::string_view name = topic.name_view();
    if (name == after) return true;
    if (!name.starts_with(prefix)) return false;
    if (scans_left_ == 0 || (request_.includes(name) && !add_retained(slice, topic))) {
      slice.end = End::more;
      slice.cursor = encode(looked_at, incarnation_, hash_);
      return false;
    }
    --scans_left_;
    looked_at = name;
    return true;
  });
  return slice;
}

// @returns false if the slice is full.
bool SliceReader::add_retained(ReadSlice& slice, const KeptTopic& topic) {
  // A value that is too old may still be there until expire().
  if (topic.value == nullptr || !events_.is_current(*topic.value)) return true;
  if (!fits(slice, *topic.value)) return false;
  if (const std::uint64_t left = events_.value_left_ns(*topic.value); left > 0) {
    slice.valid_ns = std::min(slice.valid_ns, left);  // there is a ttl, and therefore a shortest one
  }
  return true;
}

// --- history ---

bool SliceReader::wants(const KeptEvent& event) const {
  return event.position > at_.position && event.time >= at_.since &&
         (request_.what != ReadRequest::What::after_offset || event.offset() > request_.offset);
}

// Whether history has dropped an event that wants() would include. A topic drops its oldest event first, so
// checking the last one dropped is enough.
bool SliceReader::has_lost(const KeptTopic& topic) const {
  return topic.dropped_position > at_.position && topic.dropped_time >= at_.since &&
         (request_.what != ReadRequest::What::after_offset || topic.dropped_offset > request_.offset);
}

bool SliceReader::fits(ReadSlice& slice, const KeptEvent& event) {
  const std::size_t bytes = event.event_bytes + event.topic->name_bytes;
  const bool full = slice.events.size() >= std::max<std::size_t>(request_.events_max, 1) ||
                    bytes_ + bytes > request_.bytes_max;
  if (full && !slice.events.empty()) return false;
  bytes_ += bytes;
  slice.events.push_back({event.topic->name_view(), event.event()});
  return true;
}

bool SliceReader::give(ReadSlice& slice, const KeptEvent& event) {
  if (event.position > until_) {
    slice = complete(std::move(slice));
    return false;
  }
  if (scans_left_ == 0 ||
      (wants(event) && request_.includes(event.topic->name_view()) && !fits(slice, event))) {
    slice = more(std::move(slice));
    return false;
  }
  --scans_left_;
  at_.position = event.position;
  return true;
}

ReadSlice SliceReader::complete(ReadSlice slice) const {
  slice.end = End::complete;
  slice.through_position = std::min(until_, events_.last_position());
  return slice;
}

ReadSlice SliceReader::more(ReadSlice slice) const {
  slice.end = End::more;
  slice.cursor = encode(at_, incarnation_, hash_);
  slice.through_position = at_.position;
  return slice;
}

// --- history of one topic: its own list ---

ReadSlice SliceReader::read_topic() {
  ReadSlice slice;
  const KeptTopic* const topic = events_.topics().find(request_.pattern.str());
  if (topic == nullptr) return complete(std::move(slice));
  if (!request_.partial && has_lost(*topic)) {
    slice.end = End::gone;
    slice.first_available = topic->dropped_position + 1;
    slice.first_available_offset =
        topic->first == nullptr ? topic->dropped_offset + 1 : topic->first->offset();
    return slice;
  }
  if (topic->last == nullptr || !wants(*topic->last)) return complete(std::move(slice));
  const KeptEvent* event = start_of_topic(*topic);
  if (event == nullptr) return more(std::move(slice));
  while (give(slice, *event)) {
    event = event->next_of_topic;
    if (event == nullptr) return complete(std::move(slice));
  }
  return slice;
}

// The topic's first event that the request includes; the topic's last event must be one. @returns nullptr if
// the search took too long: at_ is then closer to it.
const KeptEvent* SliceReader::start_of_topic(const KeptTopic& topic) {
  if (wants(*topic.first)) return topic.first;
  // A continued read is nearly always here: the last event it returned is still in history.
  const KeptEvent* const given = events_.history().at(at_.position);
  if (given != nullptr && given->topic == &topic && wants(*given->next_of_topic)) return given->next_of_topic;
  return request_.what == ReadRequest::What::after_offset ? start_by_offset(topic) : start_by_position(topic);
}

const KeptEvent* SliceReader::start_by_offset(const KeptTopic& topic) {
  const KeptEvent* const looked_at = events_.history().at(at_.position);
  const bool goes_on = looked_at != nullptr && looked_at->topic == &topic;
  const KeptEvent* event = goes_on ? looked_at->next_of_topic : topic.first;
  for (; !wants(*event); event = event->next_of_topic) {
    if (scans_left_ == 0) return nullptr;
    --scans_left_;
    at_.position = std::max(at_.position, event->position);
  }
  return event;
}

// Searches from the topic's first event and, in parallel, through the events of all topics, whichever gets
// there first.
const KeptEvent* SliceReader::start_by_position(const KeptTopic& topic) {
  const KeptEvent* own = topic.first;
  const KeptEvent* any = start_of_all();
  for (;;) {
    if (any->topic == &topic) return any;
    own = own->next_of_topic;
    if (wants(*own)) return own;
    if (scans_left_ == 0) return nullptr;
    --scans_left_;
    at_.position = any->position;
    any = any->newer;
  }
}

// --- history of a pattern: the list of all ---

ReadSlice SliceReader::read_pattern() {
  ReadSlice slice;
  switch (request_.partial ? Check::nothing_lost : check()) {
    case Check::unfinished:
      return more(std::move(slice));
    case Check::lost:
      slice.end = End::gone;
      slice.first_available = at_.lost_position + 1;
      return slice;
    case Check::nothing_lost:
      break;
  }
  for (const KeptEvent* event = start_of_all(); event != nullptr; event = event->newer) {
    if (!give(slice, *event)) return slice;
  }
  return complete(std::move(slice));
}

const KeptEvent* SliceReader::start_of_all() const {
  const KeptEvent* const by_position = events_.history().first_after(at_.position);
  if (at_.since == std::numeric_limits<std::int64_t>::min() || by_position == nullptr) return by_position;
  const KeptEvent* const by_time =
      events_.history().first_where([&](const KeptEvent& event) { return event.time >= at_.since; });
  return by_time == nullptr || by_time->position > by_position->position ? by_time : by_position;
}

// --- what a pattern's topics have lost ---

SliceReader::Check SliceReader::check() {
  const DropLog& drops = events_.drops();
  const bool overtaken = at_.phase != Phase::unchecked && !drops.covers_from(at_.drops_seen);
  if (at_.phase == Phase::checked && !overtaken) {
    check_drops();
    // Something was lost. Only a full check tells how much.
    if (at_.lost_position != 0) at_.phase = Phase::unchecked;
  } else if (at_.phase == Phase::checking && !overtaken) {
    check_drops();
  } else if (overtaken) {
    at_.phase = Phase::unchecked;
    at_.restarts = std::min<std::uint8_t>(static_cast<std::uint8_t>(at_.restarts + 1), restarts_max);
  }
  if (at_.phase == Phase::unchecked) {
    at_.phase = Phase::checking;
    at_.next_block = 0;
    at_.lost_position = 0;
  }
  at_.drops_seen = drops.total();
  if (at_.phase == Phase::checked) return Check::nothing_lost;
  return check_topics();
}

SliceReader::Check SliceReader::check_topics() {
  const KeptTopics& topics = events_.topics();
  const std::size_t topics_max = events_.work().check_topics_max;
  const std::string_view prefix = request_.pattern.literal_prefix();
  if (events_.dropped_position_max() <= at_.position || events_.dropped_time_max() < at_.since) {
    at_.lost_position = 0;
  } else if (!prefix.empty() &&
             topics.by_name().count_with(prefix) <= std::min(topics_max, topics.size()) / 4) {
    // Few enough to visit in name order, which jumps about in memory.
    topics.by_name().visit_from(prefix, [&](const KeptTopic& topic) {
      if (!topic.name_view().starts_with(prefix)) return false;
      check_topic(topic);
      return true;
    });
  } else {
    const std::size_t budget = topics_max << at_.restarts;
    for (std::size_t looked_at = 0; at_.next_block < topics.in_memory().blocks(); ++at_.next_block) {
      if (looked_at >= budget) return Check::unfinished;
      topics.in_memory().visit_block(at_.next_block, [&](const KeptTopic& topic) { check_topic(topic); });
      looked_at += topics.in_memory().elements_in(at_.next_block);
    }
  }
  if (at_.lost_position != 0) return Check::lost;
  at_.phase = Phase::checked;
  return Check::nothing_lost;
}

void SliceReader::check_drops() {
  const DropLog& drops = events_.drops();
  for (std::uint64_t number = at_.drops_seen; number < drops.total(); ++number) {
    const DropLog::Entry& entry = drops.at(number);
    // The dropped event is mostly the oldest of all, which this read has passed: its topic need not be
    // checked.
    if (entry.position > at_.position) check_topic(*entry.topic);
  }
}

void SliceReader::check_topic(const KeptTopic& topic) {
  if (topic.dropped_position > at_.lost_position && has_lost(topic) && request_.includes(topic.name_view())) {
    at_.lost_position = topic.dropped_position;
  }
}

}  // namespace backplane::broker
