#include "broker/store/event_log.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "broker/store/bytes.hpp"
#include "core/process/host.hpp"

namespace backplane::broker::store {
namespace {

// One write() has at most this and a record: longer ones take no fewer calls worth mentioning, and readers
// wait for them.
constexpr std::size_t write_bytes = std::size_t{1} << 20;
constexpr std::size_t batch_header_bytes = 8 + sizeof(void*);  // including the topic's address
// A topic may be anywhere in memory.
constexpr int prefetched_ahead = 8;

}  // namespace

std::string segment_name(std::uint64_t stream, std::uint64_t first) {
  return fmt::format("{:016x}-{:020}", stream, first);
}

bool is_name_of_data(std::string_view name) {
  constexpr std::string_view form = "xxxxxxxxxxxxxxxx-dddddddddddddddddddd.";
  if (name.size() <= form.size()) return false;
  for (std::size_t i = 0; i < form.size(); ++i) {
    const bool is_digit = name[i] >= '0' && name[i] <= '9';
    const bool is_hex = is_digit || (name[i] >= 'a' && name[i] <= 'f');
    if (form[i] == 'x' ? !is_hex : form[i] == 'd' ? !is_digit : name[i] != form[i]) return false;
  }
  return true;
}

// --- the batch: kind, flags, length of the name, of the user, of the body, topic, name, user, body ---

namespace {

void add_to(std::string& bytes, RecordKind kind, bool clears_value, StoredTopic* topic, std::string_view name,
            std::string_view user, std::string_view body) {
  CHECK(name.size() <= std::numeric_limits<std::uint8_t>::max(), "a topic's name has at most 255 bytes");
  CHECK(user.size() <= std::numeric_limits<std::uint8_t>::max(), "a user's name has at most 64 bytes");
  char header[batch_header_bytes]{};
  header[0] = static_cast<char>(kind);
  header[1] = clears_value ? 1 : 0;
  header[2] = static_cast<char>(name.size());
  header[3] = static_cast<char>(user.size());
  wire::store_little_endian(static_cast<std::uint32_t>(body.size()), header + 4);
  std::memcpy(header + 8, &topic, sizeof(void*));
  bytes.append(header, sizeof header).append(name).append(user).append(body);
}

}  // namespace

void Batch::add(const HistoryAppend& item, StoredTopic* topic) {
  add_to(bytes_, RecordKind::event, item.clears_value, topic, item.topic, item.user,
         {reinterpret_cast<const char*>(item.event.data()), item.event.size()});
}

void Batch::add_types(std::string_view descriptor_set) {
  add_to(bytes_, RecordKind::types, false, nullptr, {}, {}, descriptor_set);
}

bool Batch::next(std::size_t& at, Record& record, StoredTopic*& topic) const {
  if (at >= bytes_.size()) return false;
  const std::string_view rest = std::string_view(bytes_).substr(at);
  record = Record{};
  record.kind = static_cast<RecordKind>(rest[0]);
  record.clears_value = rest[1] != 0;
  const auto name_bytes = static_cast<std::uint8_t>(rest[2]);
  const auto user_bytes = static_cast<std::uint8_t>(rest[3]);
  const auto body_bytes = wire::load_little_endian<std::uint32_t>(rest.data() + 4);
  std::memcpy(&topic, rest.data() + 8, sizeof(void*));
  record.name = rest.substr(batch_header_bytes, name_bytes);
  record.user = rest.substr(batch_header_bytes + name_bytes, user_bytes);
  record.body = rest.substr(batch_header_bytes + name_bytes + user_bytes, body_bytes);
  record.bytes = record_header_bytes + name_bytes + body_bytes;  // as it will be written
  at += batch_header_bytes + name_bytes + user_bytes + body_bytes;
  return true;
}

void Batch::prefetch(std::size_t& at) const {
  Record record;
  StoredTopic* topic = nullptr;
  if (next(at, record, topic)) __builtin_prefetch(topic, 1);
}

// --- writing ---

EventLog::EventLog(Files& files, LogState& state, LogOptions options)
    : files_(files), state_(state), options_(std::move(options)) {}

EventLog::~EventLog() = default;

Result<void> EventLog::write(const Batch& batch, std::size_t& done) {
  Record record;
  StoredTopic* topic = nullptr;
  std::size_t ahead = done;
  for (int i = 0; i < prefetched_ahead; ++i) batch.prefetch(ahead);
  for (;;) {
    if (out_.size() >= write_bytes) {
      if (auto ok = flush(); !ok) return ok;
    }
    std::size_t next = done;
    if (!batch.next(next, record, topic)) return flush();
    batch.prefetch(ahead);
    if (active_ == nullptr || (active_bytes_ + out_.size() > active_->records_at() &&
                               active_bytes_ + out_.size() + record.bytes > options_.segment_bytes)) {
      if (auto ok = flush(); !ok) return ok;
      if (auto ok = roll(); !ok) return ok;
    }
    const bool has_new_user = stage(record, topic);
    done = next;
    // The next event of the session is compared with what is stored.
    if (has_new_user) {
      if (auto ok = flush(); !ok) return ok;
    }
  }
}

// Completes a record and appends it to out_. Returns whether a session has a user from this event on.
bool EventLog::stage(const Record& incoming, StoredTopic* topic) {
  Record record = incoming;
  if (record.kind == RecordKind::types) {
    encode(record, out_);
    staged_types_.emplace_back(record.body);
    return false;
  }
  const auto stamp = wire::read_stamp(record.event());
  CHECK(stamp && stamp->position >= next_position_, "events come in the order of their positions, stamped");
  next_position_ = stamp->position + 1;

  std::int64_t shift = 0;
  Synced synced;
  const auto session = StoredSessions::use_of(record.event(), record.user);
  bool has_new_user = false;
  {
    const MutexLock lock(state_.mutex);
    if (topic == nullptr) topic = &state_.topic_of(record.name);
    record.time = state_.clock.advance(stamp->received_ns);
    shift = state_.clock.shift();
    has_new_user = session && state_.sessions.has_new_user(*session);
    synced = synced_;
  }
  record.topic = topic->number;
  record.number = topic->next_bytes;
  topic->next_bytes += record.body.size();

  if (shift != written_shift_) {
    written_shift_ = shift;
    encode(
        Record{.kind = RecordKind::clock, .time = record.time, .number = static_cast<std::uint64_t>(shift)},
        out_);
  }
  if (options_.syncs_always && synced.serial == active_->header.serial && synced.bytes > marked_bytes_) {
    marked_bytes_ = synced.bytes;
    encode(Record{.kind = RecordKind::synced, .number = synced.bytes}, out_);
  }
  if (has_new_user) {
    const std::string body = session_body(session->key.source, session->key.session, session->user);
    encode(Record{.kind = RecordKind::session, .number = stamp->position, .body = body}, out_);
  }
  const auto at = static_cast<std::uint32_t>(out_.size());
  encode(record, out_);
  updates_.push_back({topic, stamp->position, stamp->offset, topic->next_bytes, record.time, at,
                      static_cast<std::uint32_t>(out_.size() - at), !record.clears_value, session});
  return has_new_user;
}

// Writes out_ and makes it visible.
Result<void> EventLog::flush() {
  if (out_.empty()) return {};
  {
    // First, so that a sync that begins now does not miss it.
    const MutexLock lock(state_.mutex);
    if (unsynced_.empty() || unsynced_.back() != active_->file) unsynced_.push_back(active_->file);
  }
  if (auto ok = active_->file->append(std::as_bytes(std::span(out_))); !ok) {
    if (auto cut = active_->file->truncate(active_bytes_); !cut) return cut;
    return ok;
  }
  {
    const MutexLock lock(state_.mutex);
    for (const Update& update : updates_) {
      StoredTopic& topic = *update.topic;
      topic.position = update.position;
      topic.offset = update.offset;
      topic.bytes = update.bytes;
      topic.time = update.time;
      topic.record_at = static_cast<std::uint32_t>(active_bytes_) + update.at;
      topic.record_bytes = update.record_bytes;
      state_.set_value(topic, update.has_value);
      active_->add(update.position, update.time, active_bytes_ + update.at);
      state_.position = update.position;
      if (update.session) state_.sessions.stored(*update.session);
    }
    state_.written_events += updates_.size();
    for (std::string& types : staged_types_) state_.types.push_back(std::move(types));
    active_bytes_ += out_.size();
    written_bytes_ += out_.size();
    active_->bytes = active_bytes_;
    if (unsynced_.empty() || unsynced_.back() != active_->file) unsynced_.push_back(active_->file);
  }
  out_.clear();
  updates_.clear();
  staged_types_.clear();
  return {};
}

// Ends the active segment and begins the next one.
Result<void> EventLog::roll() {
  if (active_ != nullptr) {
    // After a power loss, only the last segment may be incomplete; recover() relies on it.
    if (options_.syncs_always) {
      if (auto ok = active_->file->sync(); !ok) return fail(ErrorCode::io, ok.error().text);
    }
    active_ = nullptr;
  }
  return start_segment(next_position_);
}

Result<void> EventLog::start_segment(std::uint64_t first) {
  auto segment = std::make_shared<Segment>();
  std::int64_t last_time = std::numeric_limits<std::int64_t>::min();
  {
    const MutexLock lock(state_.mutex);
    segment->header = {
        .kind = FileKind::segment, .stream = state_.stream, .serial = random_id(), .first = first};
    if (!state_.segments.empty()) last_time = state_.segments.back()->last_time;
  }
  segment->name = segment_name(segment->header.stream, first);
  segment->through = first - 1;
  segment->last_time = last_time;
  const std::string file_name = segment->name + std::string(log_suffix);
  auto file = files_.create(file_name);
  if (!file) return tl::unexpected(file.error());
  const std::string header = encode(segment->header);
  if (auto ok = (*file)->append(std::as_bytes(std::span(header))); !ok) {
    if (auto removed = files_.remove(file_name); !removed) return removed;
    return ok;
  }
  segment->file = *file;
  segment->bytes = header_bytes;
  active_ = std::move(segment);
  active_bytes_ = header_bytes;
  marked_bytes_ = 0;
  const MutexLock lock(state_.mutex);
  state_.segments.push_back(active_);
  unsynced_.push_back(active_->file);
  names_unsynced_ = true;
  written_bytes_ += header_bytes;
  return {};
}

Result<void> EventLog::sync() {
  const MutexLock only_one(sync_mutex_);
  std::vector<std::shared_ptr<File>> files;
  bool names = false;
  Synced synced;
  {
    const MutexLock lock(state_.mutex);
    if (!sync_error_) return sync_error_;
    files.swap(unsynced_);
    names = std::exchange(names_unsynced_, false);
    if (!state_.segments.empty()) {
      synced = {state_.segments.back()->header.serial, state_.segments.back()->bytes};
    }
  }
  Result<void> ok;
  if (names) ok = files_.sync_names();
  for (const auto& file : files) {
    if (ok) ok = file->sync();
  }
  const MutexLock lock(state_.mutex);
  if (ok) {
    synced_ = synced;
  } else {
    sync_error_ = ok;
  }
  return ok;
}

Result<void> EventLog::sync_error() {
  const MutexLock lock(state_.mutex);
  return sync_error_;
}

std::uint64_t EventLog::written_bytes() {
  const MutexLock lock(state_.mutex);
  return written_bytes_;
}

Result<void> EventLog::close() {
  if (auto ok = sync(); !ok) return ok;
  if (auto ok = write_indexes(); !ok) return ok;
  if (auto ok = write_checkpoint(); !ok) return ok;
  std::uint64_t stream = 0;
  {
    const MutexLock lock(state_.mutex);
    stream = state_.stream;
  }
  return write_mark(stream, /*is_clean=*/true);
}

}  // namespace backplane::broker::store
