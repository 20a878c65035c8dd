#include "broker/store/log_reader.hpp"

#include <algorithm>
#include <utility>

#include "broker/state/read_cursor.hpp"
#include "broker/store/bytes.hpp"
#include "core/log/log.hpp"

namespace backplane::broker::store {
namespace {

using End = ReadSlice::End;
using What = ReadRequest::What;

constexpr char history_mark = 'f';
constexpr std::int64_t always = std::numeric_limits<std::int64_t>::min();
// Records whose topics are looked up under one lock.
constexpr std::size_t group_max = 256;
// What a report of destroyed events takes beside the topic's name.
constexpr std::size_t lost_bytes = 64;
// Names examined per slice of values.
constexpr std::size_t names_max = 16'384;

std::string encode(const LogCursor& cursor, std::uint32_t incarnation, std::uint32_t request) {
  std::string out(1, history_mark);
  put(out, incarnation);
  put(out, request);
  put(out, cursor.position);
  put(out, cursor.since);
  put(out, cursor.checked);
  put(out, static_cast<std::uint8_t>(cursor.is_locating ? 1 : 0));
  put(out, cursor.locate_from);
  put(out, cursor.waits);
  put(out, cursor.lost_through);
  return out;
}

std::optional<LogCursor> decode(std::string_view text, std::uint32_t incarnation, std::uint32_t request) {
  ByteReader in(text);
  if (in.take(1) != std::string_view(&history_mark, 1) || in.get<std::uint32_t>() != incarnation ||
      in.get<std::uint32_t>() != request) {
    return std::nullopt;
  }
  LogCursor cursor;
  cursor.position = in.get<std::uint64_t>();
  cursor.since = in.get<std::int64_t>();
  cursor.checked = in.get<std::uint64_t>();
  cursor.is_locating = in.get<std::uint8_t>() != 0;
  cursor.locate_from = in.get<std::uint64_t>();
  cursor.waits = in.get<std::uint64_t>();
  cursor.lost_through = in.get<std::uint64_t>();
  if (!in.ok() || in.left() != 0) return std::nullopt;
  return cursor;
}

}  // namespace

LogReader::LogReader(LogState& state, DamageSurvey& survey, const ReadRequest& request, const ReadWork& work)
    : state_(state),
      survey_(survey),
      request_(request),
      work_(work),
      hash_(request_hash(request)),
      until_(request.until_position == 0 ? std::numeric_limits<std::uint64_t>::max()
                                         : request.until_position) {}

LogSlice LogReader::read() {
  {
    const MutexLock lock(state_.mutex);
    incarnation_ = static_cast<std::uint32_t>(state_.stream);
    last_position_ = state_.position;
  }
  if (request_.what == What::retained) return read_retained();
  if (begin()) {
    read_history();
  } else {
    out_.slice.end = End::bad_cursor;
  }
  return std::move(out_);
}

bool LogReader::begin() {
  if (request_.cursor.empty()) {
    if (request_.what == What::after_position) at_.position = request_.position;
    if (request_.what == What::since_time) {
      const MutexLock lock(state_.mutex);
      at_.since = state_.clock.of(request_.since_ns);
    }
    return true;
  }
  const auto cursor = decode(request_.cursor, incarnation_, hash_);
  if (cursor) at_ = *cursor;
  return cursor.has_value();
}

void LogReader::read_history() {
  if (at_.is_locating) return locate();
  if (const auto topics = few_topics()) {
    switch (walk(*topics)) {
      case Walk::done:
        return;
      case Walk::needs_survey:
        return survey();
      case Walk::too_long:
        break;
    }
  }
  if (needs_survey()) return survey();
  scan();
}

// --- damage ---

bool LogReader::note_damage(const Damage& damage) {
  const MutexLock lock(state_.mutex);
  return state_.note_damage(damage);
}

// Whether the scan meets damage that has not been surveyed.
bool LogReader::needs_survey() {
  if (survey_.is_complete()) return false;
  const MutexLock lock(state_.mutex);
  return state_.damage.affects(at_.position, until_, at_.since);
}

// Ends a slice without events. The read continues once the survey is complete.
void LogReader::survey() {
  survey_.step(work_.scan_bytes_max);
  ++at_.waits;
  end_more();
}

// --- values ---

LogSlice LogReader::read_retained() {
  struct Value {
    std::string_view name;
    std::uint64_t position;
    std::uint64_t offset;
    std::int64_t time;
    std::shared_ptr<Segment> segment;  // nullptr: missing
    std::uint64_t at;
    std::size_t bytes;
    std::uint64_t block_at;
    std::uint64_t block_end;
  };
  std::vector<Value> values;
  ReadSlice& slice = out_.slice;
  {
    std::string_view after;
    if (!request_.cursor.empty()) {
      const auto name = decode_retained(request_.cursor, incarnation_, hash_);
      if (!name) {
        slice.end = End::bad_cursor;
        return std::move(out_);
      }
      after = *name;
    }
    const MutexLock lock(state_.mutex);
    slice.valid_ns = state_.shortest_ttl_ns();
    const Pattern& pattern = request_.pattern;
    const std::string_view prefix = pattern.literal_prefix();
    std::string_view looked_at = after;
    std::size_t names_left = names_max;
    // Called before visit_from() returns, under the lock; the analysis does not see that.
    const auto visit = [&](const StoredTopic& topic) THREAD_ANNOTATION(no_thread_safety_analysis) {
      const std::string_view name = topic.name_view();
      if (name == after) return true;
      if (!name.starts_with(prefix)) return false;
      const bool has_value = request_.includes(name) && state_.has_current_value(topic);
      const std::size_t bytes =
          topic.record_bytes - std::min<std::size_t>(topic.record_bytes, record_header_bytes);
      const bool is_full = has_value && !values.empty() &&
                           (values.size() >= std::max<std::size_t>(request_.events_max, 1) ||
                            bytes_ + bytes > request_.bytes_max);
      if (names_left == 0 || is_full) {
        slice.end = End::more;
        slice.cursor = broker::encode(looked_at, incarnation_, hash_);
        return false;
      }
      --names_left;
      looked_at = name;
      if (!has_value) return true;
      const std::size_t index = state_.segment_after(topic.position - 1, always);
      bytes_ += bytes;
      Value value{.name = name,
                  .position = topic.position,
                  .offset = topic.offset,
                  .time = topic.time,
                  .segment = nullptr,
                  .at = topic.record_at,
                  .bytes = topic.record_bytes,
                  .block_at = 0,
                  .block_end = 0};
      if (index < state_.segments.size()) {
        value.segment = state_.segments[index];
        value.block_at = value.segment->start_after(topic.position, always);
        value.block_end = value.segment->block_end(value.block_at);
      }
      values.push_back(std::move(value));
      if (const std::uint64_t left = state_.value_left_ns(topic); left > 0) {
        slice.valid_ns = std::min(slice.valid_ns, left);
      }
      return true;
    };
    if (pattern.is_exact()) {
      const StoredTopic* const topic = state_.topics.find(pattern.str());
      if (topic != nullptr && topic->name_view() > after) (void)visit(*topic);
    } else {
      state_.topics.by_name().visit_from(std::max(prefix, after), visit);
    }
  }
  const auto find = [&](const Value& value, RecordScanner scanner) {
    while (scanner.next()) {
      const Record& record = scanner.record();
      if (record.kind != RecordKind::event || record.position != value.position || record.name != value.name)
        continue;
      slice.events.push_back({record.name, record.event()});
      out_.chunks.push_back(scanner.chunk());
      return true;
    }
    return false;
  };
  for (const Value& value : values) {
    // Where the record was last seen; if the segment has been rewritten since, somewhere in its block.
    if (value.segment != nullptr &&
        (find(value, {value.segment->file, value.at, value.at + value.bytes, value.bytes}) ||
         find(value, {value.segment->file, value.block_at, value.block_end}))) {
      continue;
    }
    (void)note_damage({.after = value.position - 1, .before = value.position + 1, .time = value.time});
    slice.destroyed.push_back({std::string(value.name), value.offset, value.offset, value.position});
  }
  return std::move(out_);
}

// --- ends of slices of history ---

bool LogReader::wants(const Record& event) const {
  return event.position > at_.position && event.time >= at_.since &&
         (request_.what != What::after_offset || event.offset > request_.offset);
}

// Whether the read begins before the last of them.
bool LogReader::begins_before(const LostRun& lost) const {
  return lost.position > at_.position && lost.time >= at_.since &&
         (request_.what != What::after_offset || lost.last > request_.offset);
}

bool LogReader::fits(std::size_t bytes) {
  const std::size_t count = out_.slice.events.size() + out_.slice.destroyed.size();
  const bool is_full =
      count >= std::max<std::size_t>(request_.events_max, 1) || bytes_ + bytes > request_.bytes_max;
  if (is_full && !is_empty()) return false;
  bytes_ += bytes;
  return true;
}

void LogReader::give(const Record& event, const Chunk& chunk) {
  out_.slice.events.push_back({event.name, event.event()});
  if (out_.chunks.empty() || out_.chunks.back() != chunk) out_.chunks.push_back(chunk);
}

bool LogReader::give(const LostRun& lost) {
  DestroyedEvents destroyed{.topic = {}, .first = lost.first, .last = lost.last, .position = lost.position};
  {
    const MutexLock lock(state_.mutex);
    const StoredTopic* const topic = state_.topics.find(lost.topic);
    if (topic == nullptr || !request_.includes(topic->name_view())) return true;
    destroyed.topic = topic->name_view();
  }
  if (!fits(destroyed.topic.size() + lost_bytes)) return false;
  if (request_.what == What::after_offset) {
    destroyed.first = std::max(lost.first, request_.offset + 1);
  } else if (lost.first < lost.last && (request_.position > lost.after || at_.since > lost.time_after)) {
    destroyed.first = 0;  // the read may begin between them
  }
  out_.slice.destroyed.push_back(std::move(destroyed));
  return true;
}

// Everything that the scan has to report up to `position`. @returns false if the slice is full.
bool LogReader::give_lost_through(std::uint64_t position) {
  const std::vector<LostRun>& lost = survey_.lost();
  if (lost.empty() || !survey_.is_complete()) return true;
  auto each = std::ranges::upper_bound(lost, at_.position, {}, &LostRun::position);
  for (; each != lost.end() && each->position <= position; ++each) {
    if (!begins_before(*each)) continue;
    if (!give(*each)) return false;
    at_.position = each->position;
  }
  return true;
}

// Of events that are lost one after the other, only the position of the last one is known. If it is after the
// end of the read, others may be before. @returns false if the slice is full.
bool LogReader::give_lost_beyond(const LostRun& lost) {
  if (lost.position <= std::max(until_, at_.lost_through) || lost.after >= until_ || !begins_before(lost))
    return true;
  if (!give(lost)) return false;
  at_.lost_through = lost.position;
  return true;
}

// Everything up to the end of the read has been examined.
void LogReader::end_scan() {
  if (!give_lost_through(std::min(until_, last_position_))) return end_more();
  if (survey_.is_complete()) {
    for (const LostRun& lost : survey_.lost()) {
      if (!give_lost_beyond(lost)) return end_more();
    }
  }
  end_complete();
}

// A partial read leaves lost events out.
void LogReader::lose(std::uint64_t position, std::uint64_t offset) {
  if (request_.partial || position <= lost_position_) return;
  lost_position_ = position;
  lost_offset_ = offset;
}

void LogReader::end_complete() {
  out_.slice.end = End::complete;
  const MutexLock lock(state_.mutex);
  // A request may begin after the end of the log; a scan may have come further than the log was at its start.
  out_.slice.through_position =
      std::min(until_, std::max(last_position_, std::min(at_.position, state_.position)));
}

void LogReader::end_more() {
  out_.slice.end = End::more;
  out_.slice.through_position = at_.position;
  out_.slice.cursor = encode(at_, incarnation_, hash_);
}

void LogReader::end_lost() {
  out_ = {};
  out_.slice.end = End::gone;
  out_.slice.first_available = lost_position_ + 1;
  if (request_.pattern.is_exact()) out_.slice.first_available_offset = lost_offset_ + 1;
}

// --- from the last events back ---

// The topics that match, if they are few enough.
std::optional<std::vector<StoredTopic*>> LogReader::few_topics() {
  const MutexLock lock(state_.mutex);
  std::vector<StoredTopic*> topics;
  const Pattern& pattern = request_.pattern;
  if (pattern.is_exact()) {
    if (StoredTopic* const topic = state_.topics.find(pattern.str()); topic != nullptr)
      topics.push_back(topic);
    return topics;
  }
  const std::string_view prefix = pattern.literal_prefix();
  if (prefix.empty() || state_.topics.by_name().count_with(prefix) > 4 * work_.walk_topics_max)
    return std::nullopt;
  state_.topics.by_name().visit_from(prefix, [&](StoredTopic& topic) {
    if (!topic.name_view().starts_with(prefix)) return false;
    if (request_.includes(topic.name_view())) topics.push_back(&topic);
    return true;
  });
  if (topics.size() > work_.walk_topics_max) return std::nullopt;
  return topics;
}

LogReader::Walk LogReader::walk(const std::vector<StoredTopic*>& topics) {
  std::vector<Walked> found;
  for (const StoredTopic* const topic : topics) {
    if (const Walk result = walk_topic(*topic, found); result != Walk::done) {
      lost_position_ = 0;
      return result;
    }
  }
  if (lost_position_ > 0) {
    end_lost();
    return Walk::done;
  }
  std::ranges::sort(found, {}, &Walked::position);
  for (const Walked& each : found) {
    if (each.position > until_) {
      if (each.lost == nullptr || give_lost_beyond(*each.lost)) continue;
      end_more();
      return Walk::done;
    }
    if (each.lost != nullptr) {
      if (!give(*each.lost)) {
        end_more();
        return Walk::done;
      }
      at_.position = each.position;
      continue;
    }
    RecordScanner scanner(each.file, each.at, each.at + each.bytes, each.bytes);
    if (!scanner.next()) {
      end_more();  // damaged right now: the next slice finds that out
      return Walk::done;
    }
    if (!fits(scanner.record())) {
      end_more();
      return Walk::done;
    }
    give(scanner.record(), scanner.chunk());
    at_.position = each.position;
  }
  end_complete();
  return Walk::done;
}

// Adds the topic's events that the read includes, unless there are too many of them.
LogReader::Walk LogReader::walk_topic(const StoredTopic& topic, std::vector<Walked>& found) {
  std::uint64_t position = 0;
  std::uint64_t next_offset = 0;  // of the event after the one that is looked for
  {
    const MutexLock lock(state_.mutex);
    position = topic.position;
    if (topic.position <= at_.position || topic.time < at_.since) return Walk::done;
    if (request_.what == What::after_offset && topic.offset <= request_.offset) return Walk::done;
    next_offset = topic.offset + 1;
  }
  // Earlier events are often in the same block.
  std::shared_ptr<Segment> block_segment;
  Chunk block_chunk;
  struct InBlock {
    Record record;
    std::uint64_t at;
  };
  std::vector<InBlock> block;
  while (position > 0) {
    if (found.size() >= work_.walk_events_max) return Walk::too_long;
    const auto in_block = [&] {
      return std::ranges::find_if(block,
                                  [&](const InBlock& each) { return each.record.position == position; });
    };
    auto at = in_block();
    if (at == block.end()) {
      std::uint64_t from = 0;
      std::uint64_t to = 0;
      {
        const MutexLock lock(state_.mutex);
        const std::size_t index = state_.segment_after(position - 1, always);
        block_segment = index < state_.segments.size() ? state_.segments[index] : nullptr;
        if (block_segment != nullptr) {
          from = block_segment->start_after(position, always);
          to = block_segment->block_end(from);
        }
      }
      block.clear();
      if (block_segment != nullptr) {
        RecordScanner scanner(block_segment->file, from, to, std::max<std::size_t>(to - from, 1));
        while (scanner.next()) {
          if (scanner.record().kind == RecordKind::event && scanner.record().topic == topic.number) {
            block.push_back({scanner.record(), scanner.at()});
          }
        }
        block_chunk = scanner.chunk();
      }
      at = in_block();
    }
    if (at == block.end()) {
      // Removed, or destroyed. It is lost, unless the read does not include it.
      std::optional<Record> removed;
      if (block_segment != nullptr) {
        RecordScanner scanner(block_segment->file, header_bytes, block_segment->records_at());
        while (scanner.next()) {
          if (scanner.record().topic == topic.number) removed = scanner.record();
        }
      }
      if (!removed || removed->position < position) {
        if (const LostRun* const lost = survey_.find(topic.number, position); lost != nullptr) {
          if (!begins_before(*lost)) return Walk::done;
          found.push_back({.position = lost->position, .file = nullptr, .at = 0, .bytes = 0, .lost = lost});
          position = lost->after;
          next_offset = lost->first;
          continue;
        }
        const bool is_new = note_damage({.after = position - 1,
                                         .before = position + 1,
                                         .time = std::numeric_limits<std::int64_t>::max()});
        if (is_new || !survey_.is_complete()) return Walk::needs_survey;
        removed = Record{.time = std::numeric_limits<std::int64_t>::max()};
      }
      removed->position = position;
      removed->offset = next_offset - 1;
      if (wants(*removed)) lose(removed->position, removed->offset);
      return Walk::done;
    }
    const Record& record = at->record;
    if (!wants(record)) return Walk::done;
    {
      const MutexLock lock(state_.mutex);
      if (!state_.is_in_history(topic, record)) {
        lose(record.position, record.offset);
        return Walk::done;
      }
    }
    // Events that were written since this slice was begun belong to the next one.
    if (record.position <= last_position_) {
      found.push_back({record.position, block_segment->file, at->at, record.bytes, nullptr});
    }
    position = record.previous;
    next_offset = record.first_offset;
  }
  return Walk::done;
}

// --- through the log ---

std::optional<LogReader::Place> LogReader::place_after(std::uint64_t position, std::int64_t since) {
  const MutexLock lock(state_.mutex);
  const std::size_t index = state_.segment_after(position, since);
  if (index == state_.segments.size()) return std::nullopt;
  const std::shared_ptr<Segment>& segment = state_.segments[index];
  const std::uint64_t from = segment->start_after(position, since);
  return Place{.segment = segment,
               .serial = segment->header.serial,
               .from = from,
               .to = segment->bytes,
               .after = segment->position_before(from),
               .through = segment->through,
               .last_time = segment->last_time,
               .removals_end = segment->records_at(),
               .is_last = index + 1 == state_.segments.size()};
}

void LogReader::scan() {
  for (;;) {
    const auto place = place_after(at_.position, at_.since);
    if (!place) return end_scan();
    if (at_.checked != place->serial) {
      if (!check_removals(*place)) return;
      at_.checked = place->serial;
    }
    if (!scan_segment(*place)) return;
    const std::uint64_t through = std::min(place->through, until_);
    if (!give_lost_through(through)) return end_more();
    at_.position = std::max(at_.position, through);
    if (at_.position >= until_ || (place->is_last && at_.position >= last_position_)) return end_scan();
  }
}

// Whether nothing of a segment that the read includes has been removed from it. If false, the slice is
// complete.
bool LogReader::check_removals(const Place& place) {
  if (place.removals_end == header_bytes) return true;
  RecordScanner scanner(place.segment->file, header_bytes, place.removals_end);
  while (scanner.next()) {
    const Record& record = scanner.record();
    if (request_.partial || record.kind != RecordKind::removed) continue;
    if (!wants(record) || !request_.includes(record.name)) continue;
    if (is_empty()) {
      at_.is_locating = true;
      at_.locate_from = std::numeric_limits<std::uint64_t>::max();
      locate();
    } else {
      end_more();
    }
    return false;
  }
  if (!scanner.error()) log::warning("store: {}", scanner.error().error().text);
  if (!scanner.has_damage_before(place.removals_end)) return true;
  {
    const MutexLock lock(state_.mutex);
    if (!state_.note_damage(place.segment->damage_of_removals())) return true;
  }
  ++at_.waits;
  end_more();
  return false;
}

bool LogReader::scan_segment(const Place& place) {
  RecordScanner scanner(place.segment->file, place.from, place.to);
  DamageFinder finder(place.after, !place.segment->header.cleaned);
  bool has_new_damage = false;
  const auto note = [&](const std::optional<Damage>& found) {
    has_new_damage |= found && note_damage(*found);
    return has_new_damage;
  };
  struct Item {
    Record record;
    Chunk chunk;
    bool is_wanted;
    bool is_lost;
  };
  std::vector<Item> group;
  bool is_at_end = false;
  while (!is_at_end) {
    group.clear();
    while (group.size() < group_max) {
      if (!scanner.next()) {
        is_at_end = true;
        // What cannot be read counts as damaged.
        if (!scanner.error()) log::warning("store: {}", scanner.error().error().text);
        (void)note(finder.at_end(place.through, place.last_time, scanner.intact_end() < place.to));
        break;
      }
      const Record& record = scanner.record();
      scanned_ += record.bytes;
      if (record.kind != RecordKind::event) continue;
      if (note(finder.on_event(record, scanner.damaged_bytes()))) break;
      if (record.position > at_.position) group.push_back({record, scanner.chunk(), false, false});
    }
    if (has_new_damage) {
      // It is surveyed before the read goes on: until then, nothing is known of what is lost.
      ++at_.waits;
      end_more();
      return false;
    }
    {
      const MutexLock lock(state_.mutex);
      for (Item& item : group) {
        if (!wants(item.record) || !request_.includes(item.record.name)) continue;
        const StoredTopic* const topic = state_.topics.find(item.record.topic);
        const bool is_left = topic != nullptr && state_.is_in_history(*topic, item.record);
        item.is_lost = !is_left && !request_.partial;
        item.is_wanted = is_left || item.is_lost;
      }
    }
    for (const Item& item : group) {
      if (item.record.position > until_) {
        end_scan();
        return false;
      }
      if (!give_lost_through(item.record.position)) {
        end_more();
        return false;
      }
      if (item.is_lost && is_empty()) {
        at_.is_locating = true;
        at_.locate_from = std::numeric_limits<std::uint64_t>::max();
        locate();
        return false;
      }
      if (item.is_lost || (item.is_wanted && !fits(item.record))) {
        end_more();
        return false;
      }
      if (item.is_wanted) give(item.record, item.chunk);
      at_.position = item.record.position;
    }
    if (scanned_ >= work_.scan_bytes_max && !is_at_end) {
      end_more();
      return false;
    }
  }
  return true;
}

// Looks for the last event that the read includes and that is lost, from the newest segment back: one segment
// per slice.
void LogReader::locate() {
  const auto before = [&]() -> std::optional<Place> {
    const MutexLock lock(state_.mutex);
    for (auto each = state_.segments.rbegin(); each != state_.segments.rend(); ++each) {
      const Segment& segment = **each;
      if (segment.first() >= at_.locate_from) continue;
      if (segment.through <= at_.position || segment.last_time < at_.since) return std::nullopt;
      return Place{.segment = *each,
                   .serial = segment.header.serial,
                   .from = header_bytes,
                   .to = segment.bytes,
                   .after = segment.first() - 1,
                   .through = segment.through,
                   .last_time = segment.last_time,
                   .removals_end = segment.records_at(),
                   .is_last = false};
    }
    return std::nullopt;
  };
  const auto place = before();
  if (!place) {
    // Limits were raised meanwhile: nothing is lost.
    at_.is_locating = false;
    return end_more();
  }
  RecordScanner scanner(place->segment->file, place->from, place->to);
  while (scanner.next()) {
    const Record& record = scanner.record();
    if (record.kind != RecordKind::event && record.kind != RecordKind::removed) continue;
    if (!wants(record) || !request_.includes(record.name)) continue;
    if (record.kind == RecordKind::event) {
      const MutexLock lock(state_.mutex);
      const StoredTopic* const topic = state_.topics.find(record.topic);
      if (topic != nullptr && state_.is_in_history(*topic, record)) continue;
    }
    lose(record.position, record.offset);
  }
  if (lost_position_ > 0) return end_lost();
  at_.locate_from = place->segment->first();
  end_more();
}

}  // namespace backplane::broker::store
