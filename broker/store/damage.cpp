#include "broker/store/damage.hpp"

#include <algorithm>
#include <utility>

#include "broker/store/log_state.hpp"
#include "broker/store/record_scanner.hpp"
#include "core/log/log.hpp"

namespace backplane::broker::store {
namespace {

constexpr std::int64_t any_time = std::numeric_limits<std::int64_t>::min();
constexpr std::size_t survey_read_bytes = std::size_t{1} << 20;

}  // namespace

// --- the list ---

bool DamageList::add(const Damage& damage) {
  if (damage.before <= damage.after + 1) return false;
  Damage all = damage;
  const auto overlaps = [&](const Damage& known) {
    return known.after < damage.before && damage.after < known.before;
  };
  for (const Damage& known : list_) {
    if (known.after <= damage.after && damage.before <= known.before) return false;
    if (!overlaps(known)) continue;
    // The new one knows better if it includes the other.
    if (known.after < damage.after || damage.before < known.before) all.time = std::max(all.time, known.time);
    all.after = std::min(all.after, known.after);
    all.before = std::max(all.before, known.before);
  }
  std::erase_if(list_, overlaps);
  list_.insert(std::ranges::upper_bound(list_, all.after, {}, &Damage::after), all);
  ++changes_;
  return true;
}

const Damage* DamageList::at(std::uint64_t position) const {
  const auto found = std::ranges::find_if(
      list_, [&](const Damage& each) { return each.after < position && position < each.before; });
  return found == list_.end() ? nullptr : &*found;
}

bool DamageList::affects(std::uint64_t position, std::uint64_t until, std::int64_t since) const {
  return std::ranges::any_of(list_, [&](const Damage& each) {
    return each.before > position + 1 && each.after < until && each.time >= since;
  });
}

// --- finding damage ---

std::optional<Damage> DamageFinder::on_event(const Record& event, std::uint64_t damaged_bytes) {
  const bool has_jumped = event.position > last_ + 1;
  const bool is_damaged = has_jumped && (is_contiguous_ || damaged_bytes != damaged_bytes_);
  const Damage damage{.after = last_, .before = event.position, .time = event.time};
  damaged_bytes_ = damaged_bytes;
  last_ = std::max(last_, event.position);
  return is_damaged ? std::optional(damage) : std::nullopt;
}

std::optional<Damage> DamageFinder::at_end(std::uint64_t through, std::int64_t time, bool is_torn) {
  if (through <= last_ || (!is_contiguous_ && !is_torn)) return std::nullopt;
  return Damage{.after = last_, .before = through + 1, .time = time};
}

// --- the survey ---

bool DamageSurvey::is_complete() {
  const MutexLock lock(state_.mutex);
  return state_.damage.empty() || surveyed_ == state_.damage.changes();
}

const LostRun* DamageSurvey::find(std::uint32_t topic, std::uint64_t position) {
  if (!is_complete()) return nullptr;
  auto each = std::ranges::lower_bound(lost_, position, {}, &LostRun::position);
  for (; each != lost_.end() && each->position == position; ++each) {
    if (each->topic == topic) return &*each;
  }
  return nullptr;
}

void DamageSurvey::begin() {
  lost_.clear();
  known_.clear();
  surveyed_.reset();
  segment_.reset();
  passed_ = 0;
  tails_checked_ = false;
  is_running_ = true;
  const MutexLock lock(state_.mutex);
  changes_ = state_.damage.changes();
}

void DamageSurvey::step(std::uint64_t bytes) {
  if (is_complete()) return;
  if (!is_running_) begin();
  for (std::uint64_t left = std::max<std::uint64_t>(bytes, 1); left > 0;) {
    if (segment_ == nullptr && !next_segment()) {
      if (!std::exchange(tails_checked_, true)) {
        check_tails();
        continue;
      }
      is_running_ = false;
      known_ = {};
      std::ranges::sort(lost_, {}, [](const LostRun& each) { return std::pair(each.position, each.topic); });
      const MutexLock lock(state_.mutex);
      // Otherwise somebody else has found more, perhaps where this survey had been already.
      if (changes_ == state_.damage.changes()) surveyed_ = changes_;
      return;
    }
    if (segment_ != nullptr && read_segment(left)) segment_.reset();
  }
}

// @returns false if there is none.
bool DamageSurvey::next_segment() {
  const MutexLock lock(state_.mutex);
  const std::size_t index = state_.segment_after(passed_, any_time);
  if (index == state_.segments.size()) {
    passed_ = std::max(passed_, state_.position);
    return false;
  }
  segment_ = state_.segments[index];
  next_at_ = header_bytes;
  finder_.emplace(passed_, !segment_->header.cleaned);
  return true;
}

// @returns whether it has read all of the segment.
bool DamageSurvey::read_segment(std::uint64_t& bytes_left) {
  std::uint64_t end = 0;
  std::uint64_t through = 0;
  std::int64_t last_time = 0;
  {
    const MutexLock lock(state_.mutex);
    end = segment_->bytes;
    through = segment_->through;
    last_time = segment_->last_time;
  }
  RecordScanner scanner(segment_->file, next_at_, end, survey_read_bytes);
  finder_->restart_count();
  while (scanner.next()) {
    const Record& record = scanner.record();
    if (record.kind == RecordKind::event) add(finder_->on_event(record, scanner.damaged_bytes()));
    note(record);
    next_at_ = scanner.intact_end();
    bytes_left -= std::min<std::uint64_t>(bytes_left, record.bytes);
    if (bytes_left == 0 && next_at_ < end) return false;
  }
  if (!scanner.error()) log::warning("store: {}", scanner.error().error().text);
  add(finder_->at_end(through, last_time, scanner.intact_end() < end));
  passed_ = std::max(passed_, through);
  return true;
}

void DamageSurvey::add(const std::optional<Damage>& damage) {
  if (!damage) return;
  const MutexLock lock(state_.mutex);
  if (state_.note_damage(*damage)) ++changes_;
}

DamageSurvey::Known& DamageSurvey::known(std::uint32_t topic) {
  if (topic >= known_.size()) known_.resize(std::size_t{topic} + 1);
  return known_[topic];
}

void DamageSurvey::note(const Record& record) {
  if (record.kind != RecordKind::event && record.kind != RecordKind::removed) return;
  Known& before = known(record.topic);
  if (record.offset <= before.offset) return;
  // Whatever is older than a removed event is not in history either.
  if (record.kind == RecordKind::event && record.first_offset > before.offset + 1) {
    lose({.topic = record.topic,
          .first = before.offset + 1,
          .last = record.first_offset - 1,
          .after = before.position,
          .position = record.previous,
          .time_after = before.time,
          .time = record.time});
  }
  before = {record.offset, record.position, record.time};
}

void DamageSurvey::lose(const LostRun& lost) {
  lost_.push_back(lost);
  const MutexLock lock(state_.mutex);
  if (const Damage* const damage = state_.damage.at(lost.position); damage != nullptr) {
    lost_.back().time = std::min(lost.time, damage->time);
  }
}

// The events that were the last ones of their topics.
void DamageSurvey::check_tails() {
  std::size_t blocks = 0;
  {
    const MutexLock lock(state_.mutex);
    blocks = state_.topics.in_memory().blocks();
  }
  std::vector<LostRun> found;
  for (std::size_t block = 0; block < blocks; ++block) {
    const MutexLock lock(state_.mutex);
    state_.topics.in_memory().visit_block(block, [&](const StoredTopic& topic) {
      // One with newer events is seen by reading what has been written meanwhile.
      if (topic.position > passed_) return;
      const Known& before = known(topic.number);
      if (topic.offset <= before.offset) return;
      found.push_back({.topic = topic.number,
                       .first = before.offset + 1,
                       .last = topic.offset,
                       .after = before.position,
                       .position = topic.position,
                       .time_after = before.time,
                       .time = topic.time});
    });
  }
  for (const LostRun& each : found) {
    known(each.topic) = {each.last, each.position, each.time};
    lost_.push_back(each);
  }
}

}  // namespace backplane::broker::store
