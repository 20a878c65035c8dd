// Opening a store: recovery.

#include <algorithm>
#include <charconv>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "broker/store/event_log.hpp"
#include "broker/store/record_scanner.hpp"
#include "core/log/log.hpp"
#include "core/process/host.hpp"

namespace backplane::broker::store {
namespace {

constexpr std::size_t scan_read_bytes = std::size_t{1} << 20;

Error cannot_open(const Files& files, const Error& error) {
  // It may be opened when there is room.
  const ErrorCode code = error.code == ErrorCode::exhausted ? error.code : ErrorCode::io;
  return {code, fmt::format("cannot open store {}: {}", files.path(), error.text)};
}
Error cannot_open(const Files& files, std::string_view text) {
  return cannot_open(files, Error{ErrorCode::io, std::string(text)});
}

bool is_temporary(std::string_view name) {
  return name.ends_with(temporary_suffix) && (is_name_of_data(name) || name.starts_with(mark_name));
}

// The position in a file's name, which begins with the stream.
std::uint64_t position_in(std::string_view name) {
  constexpr std::size_t stream_digits = 16 + 1;
  std::uint64_t position = 0;
  const std::string_view digits = name.substr(std::min(stream_digits, name.size()), 20);
  std::from_chars(digits.data(), digits.data() + digits.size(), position);
  return position;
}

}  // namespace

Result<HistoryStore::Opened> EventLog::open(std::uint64_t new_stream) {
  if (auto ok = files_.open(); !ok) return tl::unexpected(ok.error());
  const auto names = files_.list();
  if (!names) return tl::unexpected(names.error());
  const auto mark = read_mark();
  if (!mark) return tl::unexpected(cannot_open(files_, mark.error()));
  if (!*mark && std::ranges::any_of(*names, is_name_of_data)) {
    return tl::unexpected(cannot_open(files_, "it has data, but its file \"store\" is missing"));
  }
  if (*mark && (*mark)->backplane != options_.backplane) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("cannot open store {}: expected one of backplane \"{}\", got one of \"{}\"",
                            files_.path(), options_.backplane, (*mark)->backplane));
  }
  if (*mark && options_.is_numbered_by_log && (*mark)->stream != new_stream) {
    return fail(
        ErrorCode::invalid_argument,
        fmt::format("cannot open store {}: expected one of stream {:016x}, which the log has, got one "
                    "of stream {:016x}: it is of another log, or of a broker without one",
                    files_.path(), new_stream, (*mark)->stream));
  }
  if (*mark) {
    if (auto ok = check_versions((*mark)->stream); !ok)
      return tl::unexpected(cannot_open(files_, ok.error()));
  }
  // From here on, files are changed.
  for (const std::string& name : *names) {
    if (!is_temporary(name)) continue;
    if (auto ok = files_.remove(name); !ok) return tl::unexpected(ok.error());
  }

  version_ = std::max(*mark ? (*mark)->version : format_version,
                      options_.has_users ? format_version_with_users : format_version);
  bool continues = false;
  std::string_view why_it_ends = "the machine went down before everything was synced";
  std::uint64_t stream = new_stream;
  if (*mark) {
    const bool machine_crashed = !(*mark)->is_clean && (*mark)->boot != files_.boot();
    continues = !machine_crashed || (*mark)->syncs_always || options_.is_numbered_by_log;
    const auto numbering = recover(**mark, machine_crashed, continues);
    if (!numbering) return tl::unexpected(cannot_open(files_, numbering.error()));
    if (continues && *numbering == Numbering::unknown && !options_.is_numbered_by_log) {
      why_it_ends = "the numbers of lost events are not known";
      continues = false;
    }
    if (continues) stream = (*mark)->stream;
  }
  if (!continues) {
    std::vector<std::uint64_t> earlier = *mark ? (*mark)->earlier : std::vector<std::uint64_t>{};
    if (*mark) {
      earlier.push_back((*mark)->stream);
      log::warning("store {}: {}: stream {:016x} ends, and {:016x} begins", files_.path(), why_it_ends,
                   (*mark)->stream, stream);
    }
    if (auto ok = begin_stream(stream, std::move(earlier)); !ok)
      return tl::unexpected(cannot_open(files_, ok.error()));
  } else {
    const MutexLock lock(state_.mutex);
    state_.earlier = (*mark)->earlier;
  }
  {
    const MutexLock lock(state_.mutex);
    std::erase_if(state_.earlier, [&](std::uint64_t each) {
      const std::string prefix = fmt::format("{:016x}-", each);
      return std::ranges::none_of(*names, [&](const std::string& name) {
        return name.starts_with(prefix) && name.ends_with(log_suffix);
      });
    });
  }
  std::uint64_t position = 0;
  std::vector<std::shared_ptr<File>> unsynced;
  {
    const MutexLock lock(state_.mutex);
    position = state_.position;
    written_shift_ = state_.clock.shift();
    for (const auto& segment : state_.segments) {
      if (segment->through >= checkpoint_position_) unsynced.push_back(segment->file);
    }
    if (!state_.segments.empty()) {
      const std::shared_ptr<Segment>& last = state_.segments.back();
      if (!last->is_damaged && !last->header.cleaned && last->bytes < options_.segment_bytes &&
          last->through == position) {
        active_ = last;
        active_bytes_ = last->bytes;
      }
    }
  }
  next_position_ = position + 1;
  // A killed process may not have synced what follows the checkpoint, and from now on everybody sees it.
  for (const auto& file : unsynced) {
    if (auto ok = file->sync(); !ok) return tl::unexpected(cannot_open(files_, ok.error()));
  }
  if (auto ok = files_.sync_names(); !ok) return tl::unexpected(cannot_open(files_, ok.error()));
  if (*mark && !continues) {
    if (auto ok = write_checkpoint(); !ok) return tl::unexpected(cannot_open(files_, ok.error()));
  }
  // After a kill it is as it was: then the store can be opened even if the disk is full.
  if (*mark != mark_of(stream, /*is_clean=*/false)) {
    if (auto ok = write_mark(stream, /*is_clean=*/false); !ok) {
      Error error = cannot_open(files_, ok.error());
      if (!*mark && error.code == ErrorCode::exhausted) error.code = ErrorCode::invalid_argument;
      return tl::unexpected(std::move(error));
    }
  }
  measure_other_files();
  return opened(continues);
}

// What readers have seen may be lost, and its numbers must not be used again: a new stream. The files of the
// earlier one stay. Its sessions and types go on, and the retained values are its first events.
Result<void> EventLog::begin_stream(std::uint64_t stream, std::vector<std::uint64_t> earlier) {
  auto values = current_values();
  if (!values) return tl::unexpected(values.error());
  {
    const MutexLock lock(state_.mutex);
    state_.topics = {};
    state_.segments.clear();
    state_.damage = {};
    state_.stream = stream;
    state_.earlier = std::move(earlier);
    state_.position = state_.floor = state_.values = 0;
    written_shift_ = state_.clock.shift();
  }
  checkpoint_position_ = 0;
  next_position_ = 1;
  return carry_over(std::move(*values));
}

Result<std::vector<EventLog::CarriedValue>> EventLog::current_values() {
  struct Value {
    std::uint64_t position;
    std::shared_ptr<Segment> segment;
    std::uint64_t from;
    std::uint64_t to;
  };
  std::vector<Value> wanted;
  {
    const MutexLock lock(state_.mutex);
    for (std::size_t block = 0; block < state_.topics.in_memory().blocks(); ++block) {
      // Called before visit_block() returns; the analysis does not see that.
      const auto visit = [&](const StoredTopic& topic) THREAD_ANNOTATION(no_thread_safety_analysis) {
        if (!state_.has_current_value(topic)) return;
        const std::size_t index =
            state_.segment_after(topic.position - 1, std::numeric_limits<std::int64_t>::min());
        if (index == state_.segments.size()) return;
        const auto& segment = state_.segments[index];
        const std::uint64_t from =
            segment->start_after(topic.position, std::numeric_limits<std::int64_t>::min());
        wanted.push_back({topic.position, segment, from, segment->block_end(from)});
      };
      state_.topics.in_memory().visit_block(block, visit);
    }
  }
  std::ranges::sort(wanted, {}, &Value::position);
  std::vector<CarriedValue> values;
  for (auto each = wanted.begin(); each != wanted.end();) {
    // All values of a block at once.
    RecordScanner scanner(each->segment->file, each->from, each->to, scan_read_bytes);
    const Value block = *each;
    while (scanner.next() && each != wanted.end() && each->segment == block.segment &&
           each->from == block.from) {
      const Record& record = scanner.record();
      if (record.kind != RecordKind::event) continue;
      while (each != wanted.end() && each->position < record.position) ++each;
      if (each == wanted.end() || each->position != record.position) continue;
      values.push_back({std::string(record.name), std::string(record.body), record.position});
      ++each;
    }
    if (!scanner.error()) return tl::unexpected(scanner.error().error());
    while (each != wanted.end() && each->segment == block.segment && each->from == block.from) ++each;
  }
  return values;
}

// The values become the first events of the stream. They are as old as the end of the earlier one.
Result<void> EventLog::carry_over(std::vector<CarriedValue> values) {
  if (values.empty()) return {};
  if (auto ok = start_segment(1); !ok) return ok;
  for (CarriedValue& value : values) {
    const auto bytes = std::as_writable_bytes(std::span(value.event));
    auto stamp = wire::read_stamp(bytes);
    if (!stamp) continue;
    Record record{.kind = RecordKind::event};
    StoredTopic* topic = nullptr;
    {
      const MutexLock lock(state_.mutex);
      topic = &state_.topic_of(value.topic);
      record.time = state_.clock.now();
      stamp->stream = state_.stream;
    }
    stamp->position = next_position_++;
    stamp->offset = 1;
    stamp->previous = 0;
    wire::write_stamp(*stamp, bytes.last<wire::stamp_bytes>());
    record.topic = topic->number;
    record.name = value.topic;
    record.body = value.event;
    topic->next_bytes = value.event.size();
    const std::size_t record_bytes = record_header_bytes + record.name.size() + record.body.size();
    if (active_bytes_ + out_.size() > active_->records_at() &&
        active_bytes_ + out_.size() + record_bytes > options_.segment_bytes) {
      if (auto ok = flush(); !ok) return ok;
      --next_position_;  // it is the first one of the next segment
      if (auto ok = roll(); !ok) return ok;
      ++next_position_;
    }
    const auto at = static_cast<std::uint32_t>(out_.size());
    encode(record, out_);
    updates_.push_back({topic, stamp->position, stamp->offset, topic->next_bytes, record.time, at,
                        static_cast<std::uint32_t>(out_.size() - at), true});
    if (out_.size() < scan_read_bytes) continue;
    if (auto ok = flush(); !ok) return ok;
  }
  return flush();
}

/// As if there had been a segment with what is missing, and the cleaner had removed its events.
Result<void> EventLog::begin_after(std::span<const HistoryStore::Tail> tails, std::uint64_t position) {
  const auto here = [&](const Error& error) { return tl::unexpected(cannot_open(files_, error)); };
  auto segment = std::make_shared<Segment>();
  std::string out;
  bool replaces_last = false;
  {
    const MutexLock lock(state_.mutex);
    if (position <= state_.position) return {};
    segment->last_time = state_.clock.now();
    for (const HistoryStore::Tail& tail : tails) {
      StoredTopic& topic = state_.topic_of(tail.topic);
      if (tail.position <= topic.position) continue;
      segment->last_time = std::max(segment->last_time, tail.received_ns);
      topic.position = tail.position;
      topic.offset = tail.offset;
      topic.bytes = topic.next_bytes = tail.bytes;
      topic.time = tail.received_ns;
      state_.set_value(topic, false);
      encode(Record{.kind = RecordKind::removed,
                    .topic = topic.number,
                    .time = tail.received_ns,
                    .number = tail.bytes,
                    .name = topic.name_view(),
                    .position = tail.position,
                    .offset = tail.offset},
             out);
    }
    segment->header = {.kind = FileKind::segment,
                       .cleaned = true,
                       .stream = state_.stream,
                       .serial = random_id(),
                       .first = state_.position + 1,
                       .through = position,
                       .last_time = segment->last_time,
                       .removals_bytes = static_cast<std::uint32_t>(out.size())};
    // The last segment may have types alone.
    replaces_last = !state_.segments.empty() && state_.segments.back()->first() == segment->first();
    for (const std::string& types : state_.types) {
      if (replaces_last) encode(Record{.kind = RecordKind::types, .body = types}, out);
    }
  }
  segment->name = segment_name(segment->header.stream, segment->first());
  segment->through = position;
  out.insert(0, encode(segment->header));
  segment->bytes = out.size();
  const std::string name = segment->name + std::string(log_suffix);
  if (auto ok = replace(files_, name, out); !ok) return here(ok.error());
  auto file = files_.open(name);
  if (!file) return here(file.error());
  segment->file = *std::move(file);
  active_ = nullptr;
  next_position_ = position + 1;
  const MutexLock lock(state_.mutex);
  if (replaces_last) state_.segments.pop_back();
  state_.segments.push_back(std::move(segment));
  (void)state_.clock.advance(state_.segments.back()->last_time);
  state_.position = position;
  return {};
}

Result<void> EventLog::open_earlier(std::uint64_t stream) {
  StoreMark mark;
  mark.stream = stream;
  mark.is_clean = true;  // nothing is cut off
  if (auto ok = recover(mark, /*machine_crashed=*/false, /*continues=*/false); !ok)
    return tl::unexpected(ok.error());
  return {};
}

HistoryStore::Opened EventLog::opened(bool continues) {
  const MutexLock lock(state_.mutex);
  HistoryStore::Opened opened;
  opened.continues = continues;
  opened.stream = state_.stream;
  opened.position = state_.position;
  opened.tails.reserve(state_.topics.size());
  for (std::size_t block = 0; block < state_.topics.in_memory().blocks(); ++block) {
    state_.topics.in_memory().visit_block(block, [&](const StoredTopic& topic) {
      if (topic.position > 0)
        opened.tails.push_back(
            {std::string(topic.name_view()), topic.position, topic.offset, topic.bytes, topic.time});
    });
  }
  opened.sessions = state_.sessions.all();
  opened.types = state_.types;
  return opened;
}

Result<std::optional<StoreMark>> EventLog::read_mark() {
  const auto file = files_.open(mark_name);
  if (!file) {
    if (file.error().code == ErrorCode::not_found) return std::optional<StoreMark>{};
    return tl::unexpected(file.error());
  }
  const auto text = read_all(**file);
  if (!text) return tl::unexpected(text.error());
  auto mark = decode_mark(*text, mark_name);
  if (!mark) return tl::unexpected(mark.error());
  return std::optional(std::move(*mark));
}

StoreMark EventLog::mark_of(std::uint64_t stream, bool is_clean) {
  const MutexLock lock(state_.mutex);
  return {.version = version_,
          .backplane = options_.backplane,
          .stream = stream,
          .boot = files_.boot(),
          .is_clean = is_clean,
          .syncs_always = options_.syncs_always,
          .earlier = state_.earlier};
}

Result<void> EventLog::write_mark(std::uint64_t stream, bool is_clean) {
  return replace(files_, mark_name, encode(mark_of(stream, is_clean)));
}

// Nothing of a store is changed if any file has a version that this program does not know.
Result<void> EventLog::check_versions(std::uint64_t stream) {
  const auto names = list(stream);
  if (!names) return tl::unexpected(names.error());
  for (const std::string& name : *names) {
    const bool is_segment = name.ends_with(log_suffix);
    if (!is_segment && !name.ends_with(checkpoint_suffix)) continue;
    const auto file = files_.open(name);
    if (!file) return tl::unexpected(file.error());
    std::string bytes(header_bytes, '\0');
    const auto read = (*file)->read(0, std::as_writable_bytes(std::span(bytes)));
    if (!read) return tl::unexpected(read.error());
    const auto header = decode_header(std::string_view(bytes).substr(0, *read),
                                      is_segment ? FileKind::segment : FileKind::checkpoint, name);
    if (!header && header.error().code == ErrorCode::protocol) return tl::unexpected(header.error());
  }
  return {};
}

Result<std::vector<std::string>> EventLog::list(std::uint64_t stream) {
  auto names = files_.list();
  if (!names) return names;
  const std::string prefix = fmt::format("{:016x}-", stream);
  std::erase_if(*names, [&](const std::string& name) { return !name.starts_with(prefix); });
  return names;
}

Result<EventLog::Numbering> EventLog::recover(const StoreMark& mark, bool machine_crashed, bool continues) {
  const std::uint64_t stream = mark.stream;
  {
    const MutexLock lock(state_.mutex);
    state_.stream = stream;
  }
  const auto names = list(stream);
  if (!names) return tl::unexpected(names.error());
  const auto checkpoint = load_checkpoint(*names, stream);
  if (!checkpoint) return tl::unexpected(checkpoint.error());
  applied_through_ = checkpoint->position;
  restore(*checkpoint);
  auto segments = open_segments(*names, stream, machine_crashed);
  if (!segments) return tl::unexpected(segments.error());

  std::uint64_t through = 0;
  std::int64_t last_time = std::numeric_limits<std::int64_t>::min();
  for (const std::shared_ptr<Segment>& segment : *segments) {
    const bool is_last = segment == segments->back();
    segment->through = segment->first() - 1;
    segment->last_time = last_time;
    bool is_known = false;
    if (!is_last && !segment->is_damaged) {
      if (const auto file = files_.open(segment->name + std::string(index_suffix)); file) {
        const auto bytes = read_all(**file);
        is_known = bytes && decode_index(*bytes, *segment);
      }
      segment->is_indexed = is_known;
    }
    // What the cleaner removed is not lost.
    if (segment->header.cleaned) applied_through_ = std::max(applied_through_, segment->header.through);
    if (!is_known || segment->through > checkpoint->position) {
      segment->records = 0;
      segment->blocks.clear();
      const SegmentRecovery how{.after = checkpoint->position,
                                .may_be_torn = is_last && continues && !mark.is_clean,
                                .cut_unsynced = is_last && continues && machine_crashed};
      if (auto ok = recover_segment(*segment, how); !ok) return tl::unexpected(ok.error());
    }
    if (segment->header.cleaned) {
      is_end_damaged_ |= segment->is_damaged && segment->header.through > checkpoint->position;
      segment->through = std::max(segment->through, segment->header.through);
      segment->last_time = std::max(segment->last_time, segment->header.last_time);
    }
    through = segment->through;
    last_time = segment->last_time;
  }
  {
    const MutexLock lock(state_.mutex);
    state_.segments = std::move(*segments);
    state_.position = std::max(state_.position, through);
  }
  note_missing_segments();
  return numbering(mark, *checkpoint, *names, machine_crashed);
}

Result<EventLog::Numbering> EventLog::numbering(const StoreMark& mark, const Checkpoint& checkpoint,
                                                const std::vector<std::string>& names, bool machine_crashed) {
  const MutexLock lock(state_.mutex);
  const std::uint64_t through = state_.segments.empty() ? 0 : state_.segments.back()->through;
  is_end_damaged_ |= through < checkpoint.position;
  if (!machine_crashed && !state_.segments.empty()) {
    const Segment& last = *state_.segments.back();
    const auto size = last.file->size();
    if (!size) return tl::unexpected(size.error());
    is_end_damaged_ |= last.bytes < *size;
    // The last segment has no index, because a segment gets one when the next begins.
    if (std::ranges::find(names, last.name + std::string(index_suffix)) != names.end()) {
      log::warning("store {}: the segment after position {} is missing", files_.path(), through);
      ++state_.damaged_ranges;
      is_end_damaged_ = true;
    }
  }
  // A checkpoint knows all numbers up to its position, and that of a closed store all there are.
  if (mark.is_clean && is_newest_checkpoint_) return Numbering::known;
  return is_end_damaged_ || lost_events_ > explained_events_ ? Numbering::unknown : Numbering::known;
}

// Positions that no segment is for.
void EventLog::note_missing_segments() {
  const MutexLock lock(state_.mutex);
  std::uint64_t before = state_.position + 1;
  std::int64_t time = state_.clock.now();  // none of the missing events is later
  const auto note = [&](std::uint64_t after) REQUIRES(state_.mutex) {
    if (before <= after + 1) return false;
    log::warning("store {}: positions {} to {} are missing", files_.path(), after + 1, before - 1);
    (void)state_.note_damage({.after = after, .before = before, .time = time});
    return true;
  };
  for (auto each = state_.segments.rbegin(); each != state_.segments.rend(); ++each) {
    const Segment& segment = **each;
    if (note(segment.through) && !segment.header.cleaned) (*each)->is_damaged = true;  // it has been cut
    before = segment.first();
    if (!segment.blocks.empty()) time = segment.blocks.front().time;
  }
  (void)note(0);
}

Result<Checkpoint> EventLog::load_checkpoint(const std::vector<std::string>& names, std::uint64_t stream) {
  std::vector<std::string> found;
  for (const std::string& name : names) {
    if (name.ends_with(checkpoint_suffix)) found.push_back(name);
  }
  for (bool is_newest = true; !found.empty(); found.pop_back(), is_newest = false) {
    const std::string& name = found.back();
    const auto file = files_.open(name);
    if (!file) return tl::unexpected(file.error());
    const auto bytes = read_all(**file);
    if (!bytes) return tl::unexpected(bytes.error());
    auto checkpoint = decode_checkpoint(*bytes, name);
    if (checkpoint && checkpoint->stream == stream) {
      is_newest_checkpoint_ = is_newest;
      checkpoint_position_ = checkpoint->position;
      checkpoint_bytes_ = bytes->size();
      return checkpoint;
    }
    if (!checkpoint && checkpoint.error().code == ErrorCode::protocol) return checkpoint;
    log::warning("store {}: {} is damaged; an earlier one and more of the log are read instead",
                 files_.path(), name);
    const MutexLock lock(state_.mutex);
    ++state_.damaged_ranges;
  }
  Checkpoint none;
  none.clock_now = std::numeric_limits<std::int64_t>::min();
  return none;
}

void EventLog::restore(const Checkpoint& checkpoint) {
  const MutexLock lock(state_.mutex);
  state_.floor = checkpoint.floor;
  state_.position = checkpoint.position;
  state_.clock.restore(checkpoint.clock_now, checkpoint.clock_shift);
  for (const Checkpoint::Topic& from : checkpoint.topics) {
    StoredTopic& topic = state_.topic_of(Record{.topic = from.number, .name = from.name});
    topic.position = from.position;
    topic.offset = from.offset;
    topic.bytes = topic.next_bytes = from.bytes;
    topic.time = from.time;
    topic.record_at = from.record_at;
    topic.record_bytes = from.record_bytes;
    state_.set_value(topic, from.has_value);
    state_.position = std::max(state_.position, from.position);
  }
  for (const HistoryStore::Session& session : checkpoint.sessions) state_.sessions.restore(session);
  state_.types = checkpoint.types;
}

Result<std::vector<std::shared_ptr<Segment>>> EventLog::open_segments(const std::vector<std::string>& names,
                                                                      std::uint64_t stream,
                                                                      bool machine_crashed) {
  std::string_view last;
  for (const std::string& name : names) {
    if (name.ends_with(log_suffix)) last = name;
  }
  std::vector<std::shared_ptr<Segment>> segments;
  std::uint64_t covered = 0;
  for (const std::string& name : names) {
    if (!name.ends_with(log_suffix)) continue;
    auto file = files_.open(name);
    if (!file) return tl::unexpected(file.error());
    const auto size = (*file)->size();
    if (!size) return tl::unexpected(size.error());
    if (*size < header_bytes) {
      if (position_in(name) <= checkpoint_position_) {
        log::warning("store {}: {} is damaged", files_.path(), name);
        continue;  // its positions are missing
      }
      // Its creation was interrupted; nothing else was written to it.
      if (auto ok = files_.remove(name); !ok) return tl::unexpected(ok.error());
      continue;
    }
    std::string bytes(header_bytes, '\0');
    if (const auto read = (*file)->read(0, std::as_writable_bytes(std::span(bytes))); !read)
      return tl::unexpected(read.error());
    auto header = decode_header(bytes, FileKind::segment, name);
    auto segment = std::make_shared<Segment>();
    if (!header) {
      if (header.error().code == ErrorCode::protocol) return tl::unexpected(header.error());
      if (machine_crashed && name == last) {
        // Nothing of it was ever synced, because the header comes first.
        if (auto ok = files_.rename(name, name + ".damaged"); !ok) return tl::unexpected(ok.error());
        continue;
      }
      // The records may still be intact.
      log::warning("store {}: {}", files_.path(), header.error().text);
      segment->is_damaged = true;
      header = FileHeader{
          .kind = FileKind::segment, .stream = stream, .serial = random_id(), .first = position_in(name)};
      const MutexLock lock(state_.mutex);
      ++state_.damaged_ranges;
    }
    segment->file = std::move(*file);
    segment->header = *header;
    segment->name = name.substr(0, name.size() - log_suffix.size());
    segment->bytes = *size;
    if (segment->first() <= covered) {
      // The cleaner has copied it, and was interrupted before it removed it.
      if (auto ok = files_.remove(name); !ok) return tl::unexpected(ok.error());
      continue;
    }
    covered = std::max(covered, header->through);
    segments.push_back(std::move(segment));
  }
  return segments;
}

// Finds the blocks of a segment and applies its records.
Result<void> EventLog::recover_segment(Segment& segment, const SegmentRecovery& how) {
  std::uint64_t end = segment.bytes;
  if (how.cut_unsynced) {
    // A power loss may have lost any part of what was not synced. What follows the first hole was never seen
    // by anybody, and its publishers send it again.
    std::uint64_t synced = 0;
    RecordScanner scanner(segment.file, header_bytes, end, scan_read_bytes);
    while (scanner.next()) {
      if (scanner.record().kind == RecordKind::synced) synced = std::max(synced, scanner.record().number);
    }
    if (!scanner.error()) return scanner.error();
    if (scanner.damaged_bytes() > 0 && scanner.first_damage_at() >= synced) end = scanner.first_damage_at();
  }
  const bool has_no_header = segment.is_damaged;
  RecordScanner scanner(segment.file, header_bytes, end, scan_read_bytes);
  DamageFinder finder(segment.first() - 1, !segment.header.cleaned);
  std::vector<Damage> damage;
  while (scanner.next()) {
    const Record& record = scanner.record();
    if (has_no_header && record.kind == RecordKind::removed && segment.records == 0) {
      segment.header.cleaned = true;
      segment.header.removals_bytes = static_cast<std::uint32_t>(scanner.intact_end() - header_bytes);
    }
    if (record.kind == RecordKind::event) {
      segment.add(record.position, record.time, scanner.at());
      if (const auto found = finder.on_event(record, scanner.damaged_bytes())) damage.push_back(*found);
    }
    apply(record, scanner.at(), how.after);
  }
  if (!scanner.error()) return scanner.error();
  const std::uint64_t file_bytes = segment.bytes;
  segment.bytes = scanner.intact_end();
  bool has_torn_end = segment.bytes < file_bytes;
  std::uint64_t known = 0;
  {
    const MutexLock lock(state_.mutex);
    known = state_.position;
  }
  // Nothing is cut off that may be damage.
  // A kill leaves a part of a record at most; a power loss, anything.
  const bool is_part = how.cut_unsynced || (has_torn_end && scanner.ends_in_part_of_record());
  if (has_torn_end && is_part && how.may_be_torn && !segment.is_damaged && known <= segment.through) {
    if (auto ok = segment.file->truncate(segment.bytes); !ok) return ok;
    if (auto ok = segment.file->sync(); !ok) return ok;
    has_torn_end = false;
  }
  const std::int64_t last_time =
      segment.header.cleaned ? std::max(segment.header.last_time, segment.last_time) : segment.last_time;
  if (const auto found = finder.at_end(std::max(segment.header.through, segment.through), last_time,
                                       has_torn_end || segment.is_damaged)) {
    damage.push_back(*found);
  }
  if (scanner.has_damage_before(segment.records_at())) damage.push_back(segment.damage_of_removals());
  if (scanner.damaged_bytes() == 0 && !has_torn_end && damage.empty()) return {};
  segment.is_damaged = true;
  log::warning("store {}: {} bytes of {}.log are damaged", files_.path(),
               scanner.damaged_bytes() + (has_torn_end ? file_bytes - segment.bytes : 0), segment.name);
  const MutexLock lock(state_.mutex);
  bool is_new = false;
  for (const Damage& each : damage) is_new |= state_.note_damage(each);
  if (!is_new && (!has_torn_end || known <= segment.through)) ++state_.damaged_ranges;
  return {};
}

void EventLog::apply(const Record& record, std::uint64_t at, std::uint64_t after) {
  const MutexLock lock(state_.mutex);
  switch (record.kind) {
    case RecordKind::types:
      if (std::ranges::find(state_.types, record.body) == state_.types.end()) {
        state_.types.emplace_back(record.body);
      }
      return;
    case RecordKind::clock:
      state_.clock.restore(record.time, static_cast<std::int64_t>(record.number));
      return;
    case RecordKind::synced:
      return;
    case RecordKind::session:
      if (record.number > after) {
        state_.sessions.restore({.source = std::string(record.source),
                                 .session = record.session,
                                 .user = std::string(record.user)});
      }
      return;
    case RecordKind::event:
    case RecordKind::removed:
      break;
  }
  const StoredTopic* const same_number = state_.topics.find(record.topic);
  if (same_number != nullptr && same_number->name_view() != record.name) return;
  StoredTopic& topic = state_.topic_of(record);
  const bool is_event = record.kind == RecordKind::event;
  // Lost events whose topics have later ones are known to be missing; of others, nobody knows the numbers.
  if (is_event && record.position > applied_through_) {
    lost_events_ += record.position - applied_through_ - 1;
    applied_through_ = record.position;
    if (record.first_offset > topic.offset) explained_events_ += record.first_offset - topic.offset - 1;
  }
  if (is_event && record.position >= topic.position) {
    topic.record_at = static_cast<std::uint32_t>(at);
    topic.record_bytes = static_cast<std::uint32_t>(record.bytes);
  }
  if (record.position > topic.position) {
    topic.position = record.position;
    topic.offset = record.offset;
    topic.bytes = topic.next_bytes = record.number + (is_event ? record.body.size() : 0);
    topic.time = record.time;
    state_.set_value(topic, is_event && !record.clears_value);
  }
  if (!is_event) return;
  state_.position = std::max(state_.position, record.position);
  if (record.position <= after) return;
  state_.clock.restore(record.time, state_.clock.shift());
  if (const auto session = StoredSessions::use_of(record.event())) state_.sessions.stored(*session);
}

}  // namespace backplane::broker::store
