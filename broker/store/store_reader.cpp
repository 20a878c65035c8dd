#include "broker/store/store_reader.hpp"

#include <algorithm>
#include <unordered_map>
#include <utility>

#include <fmt/format.h>

#include "broker/store/bytes.hpp"
#include "broker/store/event_log.hpp"
#include "broker/store/record_scanner.hpp"
#include "broker/store/store_damage.hpp"
#include "core/topic/string_hash.hpp"

namespace backplane::broker::store {
namespace {

constexpr std::size_t scan_read_bytes = std::size_t{1} << 20;
constexpr std::uint64_t progress_bytes = std::uint64_t{1} << 20;
constexpr std::uint64_t position_at = 32;  // in a header

StoreDamage wrong_position(std::string file, std::uint64_t at, std::uint64_t expected, std::uint64_t got) {
  return {std::move(file), at, fmt::format("expected position {}, got {}", expected, got)};
}

bool same(const std::vector<Block>& a, const std::vector<Block>& b) {
  return std::ranges::equal(a, b, [](const Block& left, const Block& right) {
    return left.position == right.position && left.time == right.time && left.at == right.at;
  });
}

}  // namespace

/// One read() of a store.
class StoreReader::Reading {
 public:
  Reading(StoreReader& reader, StoreListener& listener, std::int64_t since_ns)
      : reader_(reader), listener_(listener), since_ns_(since_ns) {
    for (const StoredIncarnation& incarnation : reader.incarnations_) bytes_all_ += incarnation.bytes;
  }

  Result<bool> read(StoredIncarnation& incarnation) {
    incarnation_ = &incarnation;
    topics_.clear();
    incarnation.events = 0;
    // The limit of the store's size removes the beginning of earlier incarnations.
    next_ = incarnation.is_current ? 1 : 0;
    is_explained_ = false;
    starts_are_known_ = incarnation.is_current;
    if (incarnation.checkpoint) {
      for (const std::string& types : incarnation.checkpoint->types) listener_.on_types(types);
    }
    for (std::size_t i = 0; i < incarnation.segments.size(); ++i) {
      const bool is_last = i + 1 == incarnation.segments.size();
      if (!is_last && skips(*incarnation.segments[i])) {
        starts_are_known_ = false;
        next_ = 0;
        bytes_ += incarnation.segments[i]->bytes;
        continue;
      }
      auto goes_on = read(*incarnation.segments[i], is_last);
      if (!goes_on || !*goes_on) return goes_on;
    }
    end();
    return true;
  }

 private:
  struct Topic {
    std::uint64_t accounted{};   // its events up to this offset are there, were removed, or were reported
    std::uint64_t last_event{};  // offsets
    std::uint64_t last_removed{};
  };

  // Whether all events of a segment are too old.
  [[nodiscard]] bool skips(const Segment& segment) const {
    const auto& checkpoint = incarnation_->checkpoint;
    // Without a shift, the store's clock is that of the events.
    if (!checkpoint || checkpoint->clock_shift != 0 || segment.is_damaged) return false;
    Segment indexed = segment;
    std::optional<StoreDamage> damage;
    return reader_.read_index(segment, indexed, damage) && indexed.through <= checkpoint->position &&
           indexed.last_time < since_ns_;
  }

  Result<bool> read(const Segment& segment, bool is_last) {
    const std::string name = segment.name + std::string(log_suffix);
    const bool may_have_holes = segment.header.cleaned || segment.is_damaged;
    const std::uint64_t before = bytes_;
    if (next_ != 0 && segment.first() > next_ && !is_explained_ && !segment.is_damaged)
      listener_.on_damage(wrong_position(name, position_at, next_, segment.first()));
    next_ = std::max(next_, segment.first());
    is_explained_ = segment.is_damaged;

    Segment scanned;
    scanned.header = segment.header;
    bool is_damaged = segment.is_damaged;
    std::uint64_t intact = header_bytes;
    RecordScanner scanner(segment.file, header_bytes, segment.bytes, scan_read_bytes);
    while (scanner.next()) {
      if (scanner.at() > intact) {
        listener_.on_damage(damage_of_records(segment, intact, scanner.at()));
        is_damaged = is_explained_ = true;
      }
      intact = scanner.intact_end();
      const Record& record = scanner.record();
      if (record.kind == RecordKind::event) {
        if (record.position > next_ && !is_explained_ && !may_have_holes)
          listener_.on_damage(wrong_position(name, scanner.at(), next_, record.position));
        next_ = std::max(next_, record.position + 1);
        is_explained_ = segment.is_damaged;
        scanned.add(record.position, record.time, scanner.at());
      }
      give(record);
      if (before + intact - bytes_ < progress_bytes) continue;
      bytes_ = before + intact;
      if (!listener_.on_progress(bytes_, bytes_all_)) return false;
    }
    if (!scanner.error()) return tl::unexpected(scanner.error().error());
    if (intact < segment.bytes) {
      StoreDamage rest = damage_of_records(segment, intact, segment.bytes);
      if (is_last && reader_.may_be_unfinished(*incarnation_, segment, intact)) {
        if (incarnation_->is_current) reader_.unfinished_ = std::move(rest);
      } else {
        listener_.on_damage(rest);
        is_damaged = is_explained_ = true;
      }
    }
    if (segment.header.cleaned) next_ = std::max(next_, segment.header.through + 1);
    if (!is_damaged && !is_last) check_index(segment, scanned);
    bytes_ = before + segment.bytes;
    return listener_.on_progress(bytes_, bytes_all_);
  }

  void check_index(const Segment& segment, const Segment& scanned) {
    Segment indexed = segment;
    std::optional<StoreDamage> damage;
    if (reader_.read_index(segment, indexed, damage)) {
      const std::uint64_t through = std::max(scanned.through, segment.header.through);
      const std::string name = segment.name + std::string(index_suffix);
      if (indexed.records != scanned.records) {
        damage = {name, header_bytes,
                  fmt::format("expected {} events, got {}", scanned.records, indexed.records)};
      } else if (scanned.records > 0 && indexed.through != through) {
        damage = wrong_position(name, header_bytes, through, indexed.through);
      } else if (!same(indexed.blocks, scanned.blocks)) {
        damage = {name, header_bytes, "expected the blocks of its segment, got others"};
      }
    }
    if (damage) listener_.on_damage(*damage);
  }

  void give(const Record& record) {
    if (record.kind == RecordKind::types) listener_.on_types(record.body);
    const bool is_event = record.kind == RecordKind::event;
    if (!is_event && record.kind != RecordKind::removed) return;
    auto found = topics_.find(record.name);
    const bool is_known = starts_are_known_ || found != topics_.end();
    if (found == topics_.end()) found = topics_.emplace(std::string(record.name), Topic{}).first;
    Topic& topic = found->second;
    if (is_event) {
      if (is_known && record.first_offset > topic.accounted + 1)
        lose(record.name, topic, record.first_offset - 1, &record);
      topic.last_event = std::max(topic.last_event, record.offset);
      ++incarnation_->events;
      listener_.on_event(incarnation_->stream, record);
    } else {
      topic.last_removed = std::max(topic.last_removed, record.offset);
    }
    topic.accounted = std::max(topic.accounted, record.offset);
  }

  void lose(std::string_view name, Topic& topic, std::uint64_t last, const Record* next) {
    listener_.on_lost({incarnation_->stream, name, topic.accounted + 1, last}, next);
    topic.accounted = last;
  }

  // What the end of the log does not have.
  void end() {
    const auto& checkpoint = incarnation_->checkpoint;
    if (checkpoint) {
      if (next_ != 0 && checkpoint->position >= next_ && !is_explained_) {
        listener_.on_damage({incarnation_->checkpoint_name, position_at,
                             fmt::format("expected a log up to position {}, got one up to {}",
                                         checkpoint->position, next_ - 1)});
      }
      for (const Checkpoint::Topic& tail : checkpoint->topics) {
        auto found = topics_.find(tail.name);
        if (found == topics_.end()) {
          if (!starts_are_known_) continue;
          found = topics_.emplace(tail.name, Topic{}).first;
        }
        if (tail.offset > found->second.accounted) lose(tail.name, found->second, tail.offset, nullptr);
      }
    }
    incarnation_->topics = topics_.size();
    // A topic's last event is never removed: newer ones, for which it was, are missing.
    std::vector<std::pair<std::string_view, std::uint64_t>> without_last;
    for (const auto& [name, topic] : topics_) {
      if (topic.last_removed > topic.last_event && topic.accounted == topic.last_removed)
        without_last.emplace_back(name, topic.last_removed);
    }
    std::ranges::sort(without_last);
    for (const auto& [name, offset] : without_last) {
      listener_.on_lost({incarnation_->stream, name, offset, offset}, nullptr);
    }
  }

  StoreReader& reader_;
  StoreListener& listener_;
  const std::int64_t since_ns_;
  std::uint64_t bytes_{0};
  std::uint64_t bytes_all_{0};
  StoredIncarnation* incarnation_{};
  std::unordered_map<std::string, Topic, StringHash, std::equal_to<>> topics_;
  std::uint64_t next_{0};        // the position that is expected; 0: any
  bool is_explained_{false};     // damage that was reported may have had the events before the next one
  bool starts_are_known_{true};  // each topic begins at offset 1
};

Result<bool> StoreReader::read(StoreListener& listener, std::int64_t since_ns) {
  for (const StoreDamage& damage : damage_) listener.on_damage(damage);
  Reading reading(*this, listener, since_ns);
  for (StoredIncarnation& incarnation : incarnations_) {
    auto goes_on = reading.read(incarnation);
    if (!goes_on || !*goes_on) return goes_on;
  }
  return true;
}

// @returns whether the index is there, intact and of this segment. `damage`: it is there and damaged.
bool StoreReader::read_index(const Segment& segment, Segment& as_indexed,
                             std::optional<StoreDamage>& damage) const {
  const std::string name = segment.name + std::string(index_suffix);
  const auto file = files_->open(name);
  if (!file) return false;
  const auto bytes = read_all(**file);
  if (!bytes) return false;
  if (decode_index(*bytes, as_indexed)) return true;
  const auto header = decode_header(*bytes, FileKind::index, name);
  // One of a segment that the cleaner has replaced is made again.
  if (header && header->serial != segment.header.serial) return false;
  damage = damage_of_file(*bytes, name, "an index");
  // It is intact, and the segment has another size than it had.
  const auto expected =
      ByteReader(std::string_view(*bytes).substr(std::min(header_bytes, bytes->size()))).get<std::uint64_t>();
  if (damage->at == header_bytes && expected != segment.bytes) {
    damage = {segment.name + std::string(log_suffix), std::min(segment.bytes, expected),
              fmt::format("expected {} bytes, got {}", expected, segment.bytes)};
  }
  return false;
}

Result<void> StoreReader::summarize() {
  for (StoredIncarnation& incarnation : incarnations_) {
    if (auto ok = summarize(incarnation); !ok) return ok;
  }
  return {};
}

Result<void> StoreReader::summarize(StoredIncarnation& incarnation) {
  std::set<std::string, std::less<>> topics;
  std::uint64_t checkpointed = 0;
  if (incarnation.checkpoint) {
    checkpointed = incarnation.checkpoint->position;
    for (const Checkpoint::Topic& topic : incarnation.checkpoint->topics) topics.insert(topic.name);
  }
  std::uint64_t next = incarnation.is_current ? 1 : 0;
  bool is_explained = false;
  for (const auto& segment : incarnation.segments) {
    const bool is_last = segment == incarnation.segments.back();
    const std::string name = segment->name + std::string(log_suffix);
    if (next != 0 && segment->first() > next && !is_explained && !segment->is_damaged)
      damage_.push_back(wrong_position(name, position_at, next, segment->first()));
    is_explained = segment->is_damaged;
    std::optional<StoreDamage> damage;
    Segment indexed = *segment;
    if (!is_last && !segment->is_damaged && read_index(*segment, indexed, damage) &&
        indexed.through <= checkpointed) {
      segment->records = indexed.records;
      segment->blocks = std::move(indexed.blocks);
      segment->through = indexed.through;
    } else {
      if (damage) damage_.push_back(*damage);
      std::uint64_t intact = header_bytes;
      RecordScanner scanner(segment->file, header_bytes, segment->bytes, scan_read_bytes);
      while (scanner.next()) {
        const Record& record = scanner.record();
        if (scanner.at() > intact) {
          damage_.push_back(damage_of_records(*segment, intact, scanner.at()));
          is_explained = true;
        }
        intact = scanner.intact_end();
        if (record.kind != RecordKind::event) continue;
        segment->add(record.position, record.time, scanner.at());
        if (!topics.contains(record.name)) topics.emplace(record.name);
      }
      if (!scanner.error()) return scanner.error();
      if (intact < segment->bytes && !(is_last && may_be_unfinished(incarnation, *segment, intact))) {
        damage_.push_back(damage_of_records(*segment, intact, segment->bytes));
        is_explained = true;
      }
    }
    incarnation.events += segment->records;
    next = std::max({segment->first(), segment->through + 1, segment->header.through + 1});
  }
  incarnation.topics = topics.size();

  const auto find = [&](const Segment& segment, bool last) -> Result<void> {
    RecordScanner scanner(segment.file, last ? segment.blocks.back().at : segment.blocks.front().at,
                          segment.bytes);
    while (scanner.next()) {
      const Record& record = scanner.record();
      if (record.kind != RecordKind::event) continue;
      (last ? incarnation.last_position : incarnation.first_position) = record.position;
      (last ? incarnation.newest_ns : incarnation.oldest_ns) = wire::read_stamp(record.event())->received_ns;
      if (!last) break;
    }
    return scanner.error();
  };
  std::vector<std::shared_ptr<Segment>> with_events;
  std::ranges::copy_if(incarnation.segments, std::back_inserter(with_events),
                       [](const auto& segment) { return !segment->blocks.empty(); });
  if (with_events.empty()) return {};
  if (auto ok = find(*with_events.front(), false); !ok) return ok;
  return find(*with_events.back(), true);
}

}  // namespace backplane::broker::store
