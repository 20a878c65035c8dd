// What keeps a store small, and quick to open: indexes, checkpoints, and the cleaner.

#include <algorithm>
#include <charconv>
#include <limits>
#include <unordered_map>
#include <utility>

#include <fmt/format.h>

#include "broker/store/event_log.hpp"
#include "broker/store/record_scanner.hpp"
#include "core/process/host.hpp"

namespace backplane::broker::store {
namespace {

// The live part of a segment is estimated from this many of its blocks: 2 MiB.
constexpr std::size_t sampled_blocks = 32;
// Segments that are estimated per call.
constexpr int estimates_max = 4;
// An estimate is made anew when this part of all events is new, or after this time: reading for estimates
// stays below what is written, and an idle store is left alone.
constexpr std::uint64_t estimates_per_turnover = 32;
constexpr std::int64_t estimate_age_max_ns = std::int64_t{600} * 1'000'000'000;
constexpr std::size_t copy_read_bytes = std::size_t{1} << 20;

}  // namespace

Result<bool> EventLog::maintain() {
  // If there is no room for these, the cleaner may make some.
  Result<void> ok = write_indexes();
  if (!ok && ok.error().code != ErrorCode::exhausted) return tl::unexpected(ok.error());
  bool is_due = false;
  {
    const MutexLock lock(state_.mutex);
    const std::uint64_t written = written_bytes_ - bytes_at_checkpoint_;
    is_due = written >= std::max<std::uint64_t>(options_.segment_bytes, 4 * checkpoint_bytes_) ||
             (state_.floor > checkpoint_position_ && state_.position > checkpoint_position_);
  }
  if (is_due) {
    if (auto done = write_checkpoint(); !done) {
      if (done.error().code != ErrorCode::exhausted) return tl::unexpected(done.error());
      ok = std::move(done);
    }
  }
  enforce_total();
  const auto run = choose_run();
  if (!run.empty()) {
    if (auto done = clean(run); !done) return tl::unexpected(done.error());
    return true;
  }
  if (!ok) return tl::unexpected(ok.error());
  return false;
}

Result<void> EventLog::write_indexes() {
  std::vector<std::shared_ptr<Segment>> missing;
  {
    const MutexLock lock(state_.mutex);
    for (const auto& segment : state_.segments) {
      if (segment != state_.segments.back() && !segment->is_indexed && !segment->is_damaged) {
        missing.push_back(segment);
      }
    }
  }
  for (const auto& segment : missing) {
    // Not synced: if a power loss damages it, it is made again.
    const std::string bytes = encode_index(*segment);
    const std::string name = segment->name + std::string(index_suffix);
    const std::string temporary = name + std::string(temporary_suffix);
    const auto file = files_.create(temporary);
    if (!file) return tl::unexpected(file.error());
    if (auto ok = (*file)->append(std::as_bytes(std::span(bytes))); !ok) {
      (void)files_.remove(temporary);  // it takes room
      return ok;
    }
    if (auto ok = files_.rename(temporary, name); !ok) return ok;
    const MutexLock lock(state_.mutex);
    segment->is_indexed = true;
    state_.other_bytes += bytes.size();
  }
  return {};
}

Result<void> EventLog::write_checkpoint() {
  Checkpoint checkpoint;
  std::size_t blocks = 0;
  std::uint64_t written = 0;
  {
    const MutexLock lock(state_.mutex);
    checkpoint.stream = state_.stream;
    checkpoint.position = state_.position;
    checkpoint.floor = state_.floor;
    checkpoint.clock_now = state_.clock.now();
    checkpoint.clock_shift = state_.clock.shift();
    checkpoint.sessions = state_.sessions.all();
    checkpoint.types = state_.types;
    checkpoint.topics.reserve(state_.topics.size());
    blocks = state_.topics.in_memory().blocks();
    written = written_bytes_;
  }
  for (std::size_t block = 0; block < blocks; ++block) {
    const MutexLock lock(state_.mutex);
    state_.topics.in_memory().visit_block(block, [&](const StoredTopic& topic) {
      if (topic.position == 0) return;
      checkpoint.topics.push_back({std::string(topic.name_view()), topic.number, topic.position, topic.offset,
                                   topic.bytes, topic.time, topic.record_at, topic.record_bytes,
                                   topic.has_value});
    });
  }
  // A checkpoint never knows of an event that a power loss can take.
  if (auto ok = sync(); !ok) return ok;
  const std::string bytes = encode(checkpoint);
  const std::string name =
      segment_name(checkpoint.stream, checkpoint.position) + std::string(checkpoint_suffix);
  if (auto ok = replace(files_, name, bytes); !ok) return ok;
  checkpoint_position_ = checkpoint.position;
  checkpoint_bytes_ = bytes.size();
  bytes_at_checkpoint_ = written;

  auto names = list(checkpoint.stream);
  if (!names) return tl::unexpected(names.error());
  std::erase_if(*names, [](const std::string& each) { return !each.ends_with(checkpoint_suffix); });
  for (std::size_t i = 0; i + 2 < names->size(); ++i) {
    if (auto ok = files_.remove((*names)[i]); !ok) return ok;
  }
  measure_other_files();
  return {};
}

// Everything but segments of this stream.
void EventLog::measure_other_files() {
  const auto names = files_.list();
  if (!names) return;
  std::string own;
  {
    const MutexLock lock(state_.mutex);
    own = fmt::format("{:016x}-", state_.stream);
  }
  std::uint64_t bytes = 0;
  for (const std::string& name : *names) {
    if (name.starts_with(own) && name.ends_with(log_suffix)) continue;
    const auto file = files_.open(name);
    if (!file) continue;
    bytes += (*file)->size().value_or(0);
  }
  const MutexLock lock(state_.mutex);
  state_.other_bytes = bytes;
}

// Moves the floor if the store is too large and cleaning alone does not help.
void EventLog::enforce_total() {
  std::uint64_t stream = 0;
  {
    const MutexLock lock(state_.mutex);
    if (state_.log_bytes() + state_.other_bytes <= state_.limits.bytes_max) return;
    stream = state_.stream;
  }
  // Earlier streams go first, one at a time: those that are not served, then the oldest.
  const auto names = files_.list();
  if (!names) return;
  std::vector<std::uint64_t> earlier;
  {
    const MutexLock lock(state_.mutex);
    earlier = state_.earlier;
  }
  const auto stream_of = [](const std::string& name) {
    std::uint64_t number = 0;
    std::from_chars(name.data(), name.data() + std::min<std::size_t>(name.size(), 16), number, 16);
    return number;
  };
  std::optional<std::uint64_t> oldest;
  for (const std::string& name : *names) {
    const std::uint64_t each = stream_of(name);
    if (!is_name_of_data(name) || each == stream) continue;
    const auto rank = [&](std::uint64_t of) {
      const auto known = std::ranges::find(earlier, of);
      return known == earlier.end() ? 0 : known - earlier.begin() + 1;
    };
    if (!oldest || rank(each) < rank(*oldest)) oldest = each;
  }
  if (oldest) {
    {
      const MutexLock lock(state_.mutex);
      std::erase(state_.earlier, *oldest);
    }
    for (const std::string& name : *names) {
      if (is_name_of_data(name) && stream_of(name) == *oldest && !files_.remove(name)) return;
    }
    measure_other_files();
    return;
  }
  const MutexLock lock(state_.mutex);
  std::uint64_t left = state_.log_bytes() + state_.other_bytes;
  for (const auto& segment : state_.segments) {
    if (left <= state_.limits.bytes_max || segment == state_.segments.back()) return;
    const auto known = std::ranges::find(estimates_, segment->header.serial, &Estimate::serial);
    const bool is_estimated = known != estimates_.end() && known->floor >= segment->through;
    // All of it, until the cleaner knows better.
    left -= segment->is_damaged ? 0 : segment->bytes - (is_estimated ? known->live_bytes : 0);
    state_.floor = std::max(state_.floor, segment->through);
  }
}

// The bytes of a segment that the cleaner would keep.
std::uint64_t EventLog::estimate_live(const Segment& segment) {
  std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges;
  {
    const MutexLock lock(state_.mutex);
    const std::size_t count = segment.blocks.size();
    const std::size_t step = std::max<std::size_t>(count / sampled_blocks, 1);
    for (std::size_t i = 0; i < count; i += step) {
      ranges.emplace_back(segment.blocks[i].at, segment.block_end(segment.blocks[i].at));
    }
  }
  std::uint64_t live = 0;
  std::uint64_t all = 0;
  for (const auto& [from, to] : ranges) {
    RecordScanner scanner(segment.file, from, to, block_bytes);
    while (scanner.next()) {
      const Record& record = scanner.record();
      all += record.bytes;
      const MutexLock lock(state_.mutex);
      const StoredTopic* const topic =
          record.kind == RecordKind::event ? state_.topics.find(record.topic) : nullptr;
      if (topic == nullptr || topic->position == record.position || state_.is_in_history(*topic, record)) {
        live += record.bytes;
      }
    }
  }
  const std::uint64_t rest = segment.bytes - segment.records_at();
  const double part = all == 0 ? 1.0 : static_cast<double>(live) / static_cast<double>(all);
  return segment.records_at() + static_cast<std::uint64_t>(static_cast<double>(rest) * part);
}

// Neighbours of which at least half is to be removed: what the cleaner writes is then never more than what it
// frees. Small ones next to them are joined to them.
std::vector<std::shared_ptr<Segment>> EventLog::choose_run() {
  std::vector<std::shared_ptr<Segment>> segments;
  std::uint64_t position = 0;
  std::uint64_t floor = 0;
  std::int64_t now = 0;
  std::uint64_t new_events_max = 0;
  {
    const MutexLock lock(state_.mutex);
    if (state_.segments.size() < 2) return {};
    new_events_max = std::max<std::uint64_t>(state_.records() / estimates_per_turnover, 1);
    segments.assign(state_.segments.begin(), std::prev(state_.segments.end()));
    position = state_.position;
    floor = state_.floor;
    now = state_.clock.now();
  }
  // The estimates are made anew in turn, those of segments below a new floor first. A new segment takes its
  // place as if it had been estimated when it was complete: however many are new, the old ones get their
  // turn.
  std::unordered_map<std::uint64_t, Estimate> known;
  for (const Estimate& estimate : estimates_) known.emplace(estimate.serial, estimate);
  estimates_.clear();
  for (const auto& segment : segments) {
    const auto found = known.find(segment->header.serial);
    estimates_.push_back(found != known.end() ? found->second
                                              : Estimate{.serial = segment->header.serial,
                                                         .live_bytes = segment->bytes,
                                                         .position = segment->through,
                                                         .time = std::numeric_limits<std::int64_t>::min()});
  }
  // Sessions are known from the checkpoint, or from events after it.
  const auto is_possible = [&](std::size_t i) {
    return !segments[i]->is_damaged && segments[i]->through <= checkpoint_position_;
  };
  const auto is_urgent = [&](std::size_t i) {
    return segments[i]->through <= floor && estimates_[i].floor < segments[i]->through;
  };
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < segments.size(); ++i) {
    const Estimate& estimate = estimates_[i];
    const bool is_old = position - estimate.position >= new_events_max ||
                        add_bounded(estimate.time, estimate_age_max_ns) <= now;
    if (is_possible(i) && (is_old || is_urgent(i))) order.push_back(i);
  }
  std::ranges::stable_sort(order, {},
                           [&](std::size_t i) { return std::pair(!is_urgent(i), estimates_[i].position); });
  for (std::size_t i = 0; i < order.size() && i < estimates_max; ++i) {
    estimates_[order[i]] = {segments[order[i]]->header.serial, estimate_live(*segments[order[i]]), position,
                            floor, now};
  }

  const auto is_mostly_dead = [&](std::size_t i) {
    return estimates_[i].live_bytes * 2 <= segments[i]->bytes;
  };
  const auto is_small = [&](std::size_t i) { return segments[i]->bytes < options_.segment_bytes / 4; };
  for (std::size_t from = 0; from < segments.size(); ++from) {
    std::uint64_t live = 0;
    std::uint64_t all = 0;
    std::size_t to = from;
    for (; to < segments.size() && is_possible(to) && (is_mostly_dead(to) || is_small(to)); ++to) {
      if (live + estimates_[to].live_bytes > options_.segment_bytes && to > from) break;
      // A run across a missing segment would hide that it is missing.
      if (to > from && segments[to]->first() > segments[to - 1]->through + 1) break;
      live += estimates_[to].live_bytes;
      all += segments[to]->bytes;
    }
    if (to > from && all >= live * 2 && all > live) {
      return {segments.begin() + static_cast<std::ptrdiff_t>(from),
              segments.begin() + static_cast<std::ptrdiff_t>(to)};
    }
  }
  return {};
}

// Copies what must stay into a new segment, which then replaces the run. A crash leaves either the run, or
// the new segment and a part of the run, which open_segments() recognises.
Result<void> EventLog::clean(const std::vector<std::shared_ptr<Segment>>& run) {
  struct Removal {
    Record record;
    std::string name;
  };
  std::unordered_map<std::uint32_t, Removal> removals;
  std::vector<bool> keeps;
  std::uint64_t removed = 0;
  std::uint64_t evicted = 0;
  for (const auto& segment : run) {
    RecordScanner scanner(segment->file, header_bytes, segment->bytes, copy_read_bytes);
    DamageFinder finder(segment->first() - 1, !segment->header.cleaned);
    std::vector<Damage> damage;
    while (scanner.next()) {
      Record record = scanner.record();
      if (record.kind == RecordKind::event) {
        if (const auto found = finder.on_event(record, scanner.damaged_bytes())) damage.push_back(*found);
      }
      bool keep = record.kind == RecordKind::types || record.kind == RecordKind::clock;
      if (record.kind == RecordKind::event) {
        const MutexLock lock(state_.mutex);
        const StoredTopic* const topic = state_.topics.find(record.topic);
        // A topic's last event always stays: it may be the retained value, and it proves the numbering.
        keep = topic == nullptr || topic->position == record.position || state_.is_in_history(*topic, record);
        if (!keep) {
          ++removed;
          if (record.position <= state_.floor) ++evicted;
          record.number += record.body.size();
        }
      }
      keeps.push_back(keep);
      const bool is_removal =
          record.kind == RecordKind::removed || (record.kind == RecordKind::event && !keep);
      if (!is_removal) continue;
      Removal& removal = removals[record.topic];
      if (removal.record.position < record.position) {
        removal.name = record.name;
        removal.record = record;
        removal.record.kind = RecordKind::removed;
        removal.record.clears_value = false;
        removal.record.body = {};
      }
    }
    if (!scanner.error()) return scanner.error();
    const bool is_torn = scanner.intact_end() != segment->bytes;
    if (scanner.damaged_bytes() > 0 || is_torn) {
      if (const auto found = finder.at_end(segment->through, segment->last_time, is_torn))
        damage.push_back(*found);
      const bool has_lost_removals = scanner.has_damage_before(segment->records_at());
      const MutexLock lock(state_.mutex);
      segment->is_damaged = true;
      if (has_lost_removals) damage.push_back(segment->damage_of_removals());
      if (damage.empty()) ++state_.damaged_ranges;
      for (const Damage& each : damage) (void)state_.note_damage(each);
      return {};
    }
  }

  auto cleaned = std::make_shared<Segment>();
  cleaned->name = run.front()->name;
  std::string out;
  std::vector<std::uint32_t> numbers;
  for (const auto& [number, removal] : removals) numbers.push_back(number);
  std::ranges::sort(numbers);
  for (const std::uint32_t number : numbers) {
    Record record = removals[number].record;
    record.name = removals[number].name;
    encode(record, out);
  }
  cleaned->header = {.kind = FileKind::segment,
                     .cleaned = true,
                     .stream = run.front()->header.stream,
                     .serial = random_id(),
                     .first = run.front()->first(),
                     .through = run.back()->through,
                     .last_time = run.back()->last_time,
                     .removals_bytes = static_cast<std::uint32_t>(out.size())};
  out.insert(0, encode(cleaned->header));

  const std::string name = cleaned->name + std::string(log_suffix);
  const std::string temporary = name + std::string(temporary_suffix);
  auto file = files_.create(temporary);
  if (!file) return tl::unexpected(file.error());
  const auto give_up = [&](Error error) -> Result<void> {
    if (auto ok = files_.remove(temporary); !ok) return ok;
    return tl::unexpected(std::move(error));
  };
  struct Moved {
    std::uint32_t topic;
    std::uint64_t position;
    std::uint32_t at;
  };
  std::vector<Moved> moved;
  std::uint64_t flushed = 0;
  std::size_t index = 0;
  cleaned->last_time = std::numeric_limits<std::int64_t>::min();
  const auto flush_copy = [&]() -> Result<void> {
    if (auto ok = (*file)->append(std::as_bytes(std::span(out))); !ok) return ok;
    flushed += out.size();
    out.clear();
    return {};
  };
  for (const auto& segment : run) {
    RecordScanner scanner(segment->file, header_bytes, segment->bytes, copy_read_bytes);
    while (scanner.next() && index < keeps.size()) {
      if (!keeps[index++]) continue;
      const Record& record = scanner.record();
      const std::uint64_t at = flushed + out.size();
      if (record.kind == RecordKind::event) {
        cleaned->add(record.position, record.time, at);
        moved.push_back({record.topic, record.position, static_cast<std::uint32_t>(at)});
      }
      const std::size_t start = out.size();
      out.resize(start + record.bytes);
      // The record as it is: its name begins after its header.
      std::string_view raw(record.name.data() - record_header_bytes, record.bytes);
      raw.copy(out.data() + start, raw.size());
      if (out.size() >= copy_read_bytes) {
        if (auto ok = flush_copy(); !ok) return give_up(ok.error());
      }
    }
    if (!scanner.error()) return give_up(scanner.error().error());
  }
  if (auto ok = flush_copy(); !ok) return give_up(ok.error());
  if (auto ok = (*file)->sync(); !ok) return give_up(ok.error());
  // An event may have been removed because of newer ones. These must not be lost after it.
  if (auto ok = sync(); !ok) return give_up(ok.error());
  if (auto ok = files_.rename(temporary, name); !ok) return ok;
  if (auto ok = files_.sync_names(); !ok) return ok;

  cleaned->file = *file;
  cleaned->bytes = flushed;
  cleaned->through = cleaned->header.through;
  cleaned->last_time = cleaned->header.last_time;
  {
    const MutexLock lock(state_.mutex);
    const auto from = std::ranges::find(state_.segments, run.front());
    CHECK(from != state_.segments.end(), "only the cleaner removes segments");
    *from = cleaned;
    state_.segments.erase(from + 1, from + static_cast<std::ptrdiff_t>(run.size()));
    for (const Moved& each : moved) {
      StoredTopic* const topic = state_.topics.find(each.topic);
      if (topic != nullptr && topic->position == each.position) topic->record_at = each.at;
    }
    std::uint64_t before = 0;
    for (const auto& segment : run) before += segment->bytes;
    state_.freed_bytes += before - std::min(before, cleaned->bytes);
    state_.expired_events += removed - evicted;
    state_.evicted_events += evicted;
  }
  cleaned_bytes_ += flushed;
  for (std::size_t i = 1; i < run.size(); ++i) {
    if (auto ok = files_.remove(run[i]->name + std::string(log_suffix)); !ok) return ok;
    if (auto ok = files_.remove(run[i]->name + std::string(index_suffix));
        !ok && ok.error().code != ErrorCode::not_found)
      return ok;
  }
  return write_indexes();
}

}  // namespace backplane::broker::store
