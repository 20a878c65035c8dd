// Opening a store for reading: a view of its files at one moment.

#include <algorithm>
#include <charconv>
#include <utility>

#include <fmt/format.h>

#include "broker/store/bytes.hpp"
#include "broker/store/event_log.hpp"
#include "broker/store/record_scanner.hpp"
#include "broker/store/store_damage.hpp"
#include "broker/store/store_reader.hpp"

namespace backplane::broker::store {
namespace {

// A store that is written changes its files some times a second; taking a view takes milliseconds.
constexpr int attempts_max = 200;

bool is_store_file(std::string_view name) {
  return name == mark_name || name.ends_with(log_suffix);
}

std::vector<std::string> logs_and_checkpoints(const std::vector<std::string>& names) {
  std::vector<std::string> found;
  std::ranges::copy_if(names, std::back_inserter(found), [](const std::string& name) {
    return name.ends_with(log_suffix) || name.ends_with(checkpoint_suffix);
  });
  return found;
}

}  // namespace

StoreReader::StoreReader(std::unique_ptr<Files> files) : files_(std::move(files)) {}

Result<void> StoreReader::open() {
  const auto cannot = [this](const Error& error) {
    return fail(error.code, fmt::format("cannot read store {}: {}", files_->path(), error.text));
  };
  const auto not_a_store = [this] {
    return fail(ErrorCode::invalid_argument,
                fmt::format("{}: expected a store, got a directory without one", files_->path()));
  };
  for (int attempt = 0; attempt < attempts_max; ++attempt) {
    auto names = files_->list();
    if (!names) return tl::unexpected(names.error());
    names_ = std::move(*names);
    if (std::ranges::none_of(names_, is_store_file)) return not_a_store();
    const auto taken = take();
    if (!taken) return cannot(taken.error());
    // What was listed may have been replaced since, or a file may have been missed while others were made.
    const auto again = files_->list();
    if (!again) return tl::unexpected(again.error());
    if (*taken == Taken::changed || logs_and_checkpoints(names_) != logs_and_checkpoints(*again)) continue;
    const auto mark = std::exchange(mark_, std::nullopt);
    if (auto ok = read_mark(); !ok) return cannot(ok.error());
    if (mark_ != mark) continue;  // a broker has opened or closed it
    if (!mark_ && incarnations_.empty()) return not_a_store();
    if (auto ok = find_end(); !ok) return cannot(ok.error());
    return {};
  }
  return cannot({ErrorCode::unavailable, "its files change too quickly"});
}

Result<StoreReader::Taken> StoreReader::take() {
  mark_.reset();
  incarnations_.clear();
  unfinished_.reset();
  damage_.clear();
  bytes_ = 0;
  if (auto ok = take_mark(); !ok) return tl::unexpected(ok.error());
  // Checkpoints first: what they know of is in the log when they are written.
  for (const std::string& name : names_) {
    if (!name.ends_with(checkpoint_suffix) || !parse_file_name(name)) continue;
    auto taken = take_checkpoint(name);
    if (!taken || *taken == Taken::changed) return taken;
  }
  for (std::size_t i = 0; i < names_.size(); ++i) {
    const std::string& name = names_[i];
    if (name.ends_with(checkpoint_suffix) && parse_file_name(name)) continue;
    if (!name.ends_with(log_suffix) || !parse_file_name(name)) {
      if (const auto file = files_->open(name); file) bytes_ += (*file)->size().value_or(0);
      continue;
    }
    const std::string_view prefix = std::string_view(name).substr(0, stream_digits);
    const bool is_last = std::none_of(
        names_.begin() + static_cast<std::ptrdiff_t>(i) + 1, names_.end(),
        [&](const std::string& later) { return later.starts_with(prefix) && later.ends_with(log_suffix); });
    auto taken = take_segment(name, is_last);
    if (!taken || *taken == Taken::changed) return taken;
  }
  return Taken::complete;
}

Result<void> StoreReader::take_mark() {
  auto damage = read_mark();
  if (!damage) return tl::unexpected(damage.error());
  if (*damage) damage_.push_back(std::move(**damage));
  if (mark_) (void)incarnation_of(segment_name(mark_->stream, 0));
  return {};
}

// Sets mark_ if the file is there and intact. @returns its damage, if not.
Result<std::optional<StoreDamage>> StoreReader::read_mark() {
  const std::string name(mark_name);
  const auto file = files_->open(name);
  if (!file && file.error().code != ErrorCode::not_found) return tl::unexpected(file.error());
  if (!file) return StoreDamage{name, 0, "expected the file, got none"};
  const auto text = read_all(**file);
  if (!text) return tl::unexpected(text.error());
  auto mark = decode_mark(*text, name);
  if (!mark && mark.error().code == ErrorCode::protocol) return tl::unexpected(mark.error());
  if (!mark) return damage_of_mark(*text, name);
  mark_ = std::move(*mark);
  return std::nullopt;
}

StoredIncarnation& StoreReader::incarnation_of(std::string_view name) {
  const std::uint64_t stream = parse_file_name(name)->stream;
  const auto known = std::ranges::find(incarnations_, stream, &StoredIncarnation::stream);
  if (known != incarnations_.end()) return *known;
  return incarnations_.emplace_back(
      StoredIncarnation{.stream = stream, .is_current = mark_ && mark_->stream == stream});
}

Result<StoreReader::Taken> StoreReader::take_checkpoint(const std::string& name) {
  const auto file = files_->open(name);
  if (!file) {
    if (file.error().code == ErrorCode::not_found) return Taken::changed;
    return tl::unexpected(file.error());
  }
  const auto bytes = read_all(**file);
  if (!bytes) return tl::unexpected(bytes.error());
  bytes_ += bytes->size();
  auto checkpoint = decode_checkpoint(*bytes, name);
  if (!checkpoint && checkpoint.error().code == ErrorCode::protocol)
    return tl::unexpected(checkpoint.error());
  const auto damage = checkpoint ? damage_of_name(name, checkpoint->stream, checkpoint->position)
                                 : std::optional(damage_of_file(*bytes, name, "a checkpoint"));
  if (damage) {
    damage_.push_back(*damage);
    return Taken::complete;
  }
  StoredIncarnation& incarnation = incarnation_of(name);
  incarnation.checkpoint = std::move(*checkpoint);
  incarnation.checkpoint_name = name;
  return Taken::complete;
}

// As EventLog::open_segments() sees it.
Result<StoreReader::Taken> StoreReader::take_segment(const std::string& name, bool is_last) {
  const auto file = files_->open(name);
  if (!file) {
    if (file.error().code == ErrorCode::not_found) return Taken::changed;
    return tl::unexpected(file.error());
  }
  const auto size = (*file)->size();
  if (!size) return tl::unexpected(size.error());
  bytes_ += *size;
  StoredIncarnation& incarnation = incarnation_of(name);
  std::string bytes(header_bytes, '\0');
  const auto read = (*file)->read(0, std::as_writable_bytes(std::span(bytes)));
  if (!read) return tl::unexpected(read.error());
  bytes.resize(*read);
  const FileName parsed = *parse_file_name(name);
  const bool is_closed = mark_ && mark_->is_clean && incarnation.is_current;
  if (*size < header_bytes && is_last && !is_closed) {
    unfinished_ = StoreDamage{name, 0, "the header is being written"};
    return Taken::complete;
  }
  auto header = decode_header(bytes, FileKind::segment, name);
  if (!header && header.error().code == ErrorCode::protocol) return tl::unexpected(header.error());
  const auto damage = header ? damage_of_name(name, header->stream, header->first)
                             : std::optional(damage_of_file(bytes, name, "a segment"));
  auto segment = std::make_shared<Segment>();
  segment->file = *file;
  segment->name = name.substr(0, name.size() - log_suffix.size());
  segment->bytes = std::max<std::uint64_t>(*size, header_bytes);
  segment->is_damaged = damage.has_value();
  segment->header = header.value_or(FileHeader{.kind = FileKind::segment});
  segment->header.stream = parsed.stream;
  segment->header.first = parsed.position;
  std::uint64_t covered = 0;
  for (const auto& each : incarnation.segments) covered = std::max(covered, each->header.through);
  // The cleaner has copied it, and has not removed it yet.
  if (segment->first() <= covered) return Taken::complete;
  if (damage) damage_.push_back(*damage);
  incarnation.bytes += *size;
  incarnation.segments.push_back(std::move(segment));
  return Taken::complete;
}

// Which incarnation is the current one, their order, and where the log ends.
Result<void> StoreReader::find_end() {
  std::map<std::uint64_t, std::int64_t> began;  // stream -> when its first event was received
  for (const StoredIncarnation& incarnation : incarnations_) {
    if (incarnations_.size() == 1) break;
    for (const auto& segment : incarnation.segments) {
      RecordScanner scanner(segment->file, header_bytes, segment->bytes);
      while (scanner.next() && scanner.record().kind != RecordKind::event) {
      }
      if (!scanner.error()) return scanner.error();
      if (scanner.record().kind != RecordKind::event) continue;
      began[incarnation.stream] = wire::read_stamp(scanner.record().event())->received_ns;
      break;
    }
  }
  std::ranges::stable_sort(incarnations_, {}, [&](const StoredIncarnation& each) {
    return std::pair(each.is_current, began[each.stream]);
  });
  if (!mark_) {
    if (!incarnations_.empty()) incarnations_.back().is_current = true;
    end_ = StoreEnd::unknown;
    return {};
  }
  end_ = mark_->is_clean                 ? StoreEnd::closed
         : mark_->boot == files_->boot() ? StoreEnd::process_ended
                                         : StoreEnd::machine_crashed;
  StoredIncarnation& current = incarnations_.back();
  if (end_ == StoreEnd::closed && !current.checkpoint &&
      std::ranges::none_of(damage_, [](const auto& each) { return each.file.ends_with(checkpoint_suffix); }))
    damage_.push_back({std::string(mark_name), 0, "expected a checkpoint of a closed store, got none"});
  if (end_ != StoreEnd::machine_crashed || !mark_->syncs_always || current.segments.empty()) return {};
  // The broker cuts the log at the first damage after what was synced: nobody has seen what follows.
  Segment& last = *current.segments.back();
  std::uint64_t synced = 0;
  RecordScanner scanner(last.file, header_bytes, last.bytes);
  while (scanner.next()) {
    if (scanner.record().kind == RecordKind::synced) synced = std::max(synced, scanner.record().number);
  }
  if (!scanner.error()) return scanner.error();
  if (scanner.damaged_bytes() == 0 || scanner.first_damage_at() < synced) return {};
  unfinished_ = StoreDamage{last.name + std::string(log_suffix), scanner.first_damage_at(),
                            fmt::format("{} bytes were not synced when the machine went down",
                                        last.bytes - scanner.first_damage_at())};
  last.bytes = scanner.first_damage_at();
  return {};
}

// Whether the last segment may end at `from`, before its file does.
bool StoreReader::may_be_unfinished(const StoredIncarnation& incarnation, const Segment& segment,
                                    std::uint64_t from) const {
  // A power loss leaves anything.
  if (!incarnation.is_current || end_ == StoreEnd::machine_crashed) return true;
  return end_ != StoreEnd::closed && is_part_of_record(segment, from);
}

}  // namespace backplane::broker::store
