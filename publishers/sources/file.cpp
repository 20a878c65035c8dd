#include "publishers/sources/file.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>
#include <sys/stat.h>

#include "core/time/duration.hpp"

namespace backplane::sources {
namespace {

using namespace std::chrono_literals;

// After a rotation, the writer learns of it with a delay; what it still writes to the old file is read too.
constexpr std::chrono::seconds quiet_time{10};
constexpr std::chrono::milliseconds save_interval{100};
// If the session of a killed run cannot be continued, the broker may still be reading what it had sent. After
// this many equal replies it has read all, unless the network is slow.
constexpr int same_replies_required = 3;
constexpr std::chrono::milliseconds request_interval{100};
// The kernel's clock for file times ticks only a few hundred times a second.
constexpr std::int64_t clock_slack_ns = 20'000'000;
// A state is saved at least each time after this many events.
constexpr std::uint64_t reservation = 1u << 20;

std::uint64_t numbering_of(const std::string& source_name, std::size_t line_bytes_max) {
  std::uint64_t hash = 14'695'981'039'346'656'037U ^ line_bytes_max;  // FNV-1a
  for (const char c : source_name) hash = (hash ^ static_cast<unsigned char>(c)) * 1'099'511'628'211U;
  return hash | 1;
}

/// Copies made in the second before the state was saved count as later.
std::int64_t copied_after(const FileState& state) {
  return state.saved_ns - std::int64_t{1'000'000'000};
}

}  // namespace

FileSource::FileSource(Runner& runner, const SourceOptions& options, const FileOptions& file,
                       std::size_t line_bytes_max, std::uint64_t numbering,
                       std::optional<FileStateStore>& store)
    : runner_(runner),
      options_(options),
      file_(file),
      line_bytes_max_(line_bytes_max),
      store_(store),
      numbering_(numbering),
      session_(runner.status().session),
      watch_(file_places(file.path)) {
  if (store_) runner_.set_resumable();
  runner_.on_progress([this](const PublisherStatus& status) { on_progress(status); });
}

FileSource::Restart FileSource::find_restart(const FileOptions& file, FileState state,
                                             std::uint64_t numbering, std::size_t line_bytes_max,
                                             SessionLookup& lookup, const std::string& source_name) {
  Restart restart{.state = std::move(state), .files = {}, .resume = {}};
  const FileState& saved = restart.state;
  for (std::size_t i = 0; i < saved.files.size(); ++i) {
    std::vector<std::filesystem::path> places = file_places(file.path);
    for (const auto& place : saved.places) {
      if (!place.empty()) places.push_back(place);
    }
    restart.files.push_back(find_moved(places, saved.files[i], copied_after(saved), line_bytes_max));
  }
  const bool same_numbers = saved.numbering == numbering && saved.active < restart.files.size() &&
                            restart.files[saved.active].has_value();
  if (saved.session == 0 || !same_numbers) return restart;
  restart.resume = Publisher::Options::Resume{
      .session = saved.session, .sequence = saved.sequence, .sent_max = saved.reserved};
  const auto confirmed = lookup.confirmed_sequence(source_name, saved.session);
  restart.broker_asked = confirmed.has_value();
  if (!confirmed) return restart;
  if (*confirmed < saved.sequence) {
    log::warning("{}: the broker has no record of the last run; publishing again what it had not confirmed",
                 source_name);
  } else if (*confirmed > saved.reserved ||
             restart.files[saved.active]->skip_lines(*confirmed - saved.sequence) > 0) {
    log::warning(
        "{}: the broker has more lines than {}: another program publishes in our session; publishing again "
        "what was not confirmed",
        source_name, file.path.string());
    restart.resume.reset();
    auto& active = restart.files[saved.active];
    active =
        find_moved(file_places(file.path), saved.files[saved.active], copied_after(saved), line_bytes_max);
    restart.state.session = 0;
  } else {
    restart.resume->sequence = *confirmed;
  }
  return restart;
}

ExitCode FileSource::run(std::optional<Restart> restart) {
  const std::chrono::nanoseconds every = options_.every.value_or(1s);
  bool running = start(std::move(restart));
  while (running) {
    running = open_new_file() && read_all() && drop_rotated();
    if (dirty_) save();
    timer_.set(timer_.now_ns() + every.count());
    running = running && runner_.wait({watch_.fd(), timer_.fd()});
    watch_.drain();
  }
  const ExitCode code = runner_.finish();
  if (active_ != nullptr) {
    // Everything is confirmed, so the next run need not ask the broker.
    if (unconfirmed_lines_.empty()) session_ = 0;
    save();
  }
  return code;
}

bool FileSource::start(std::optional<Restart> restart) {
  const bool first_run = !restart;
  if (restart && !resume(std::move(*restart))) return false;
  if (first_run && file_.from_end) {
    if (auto file = GrowingFile::open(file_.path, {}, line_bytes_max_)) {
      file->skip_to_end();
      follow(std::move(*file), file_places(file_.path).back());
    }
  }
  if (!open_new_file()) return false;
  resuming_ = false;
  if (active_ != nullptr) save();
  return true;
}

bool FileSource::resume(Restart restart) {
  const FileState& state = restart.state;
  std::uint64_t already_published = 0;
  if (restart.resume) {
    sequence_ = restart.resume->sequence;
    reserved_ = restart.resume->sent_max;
    if (!restart.broker_asked) unknown_session_ = state.session;
  } else if (state.session != 0) {
    const auto confirmed = last_run_confirmed(state.session);
    if (!confirmed) return false;
    already_published = *confirmed > state.sequence ? *confirmed - state.sequence : 0;
    if (*confirmed < state.sequence) {
      log::warning("{}: the broker has no record of the last run; publishing again what it had not confirmed",
                   runner_.source_name());
    }
  }
  resuming_ = true;
  newest_modified_ns_ = state.saved_ns;
  for (std::size_t i = 0; i < restart.files.size(); ++i) {
    auto& file = restart.files[i];
    if (!file) {
      log::warning("{}: {}; its unpublished lines are lost", runner_.source_name(), file.error().text);
      continue;
    }
    if (i == state.active && already_published > 0) {
      if (const std::uint64_t missing = file->skip_lines(already_published); missing > 0) {
        log::warning("{}: the broker has {} more lines than {}", runner_.source_name(), missing,
                     file_.path.string());
      }
    }
    Followed& followed =
        follow(std::move(*file), i < state.places.size() ? state.places[i] : std::filesystem::path());
    if (i == state.active) active_ = &followed;
  }
  return true;
}

/// At the start, no broker could say whether it knows the last run.
void FileSource::ask_later(const PublisherStatus& status) {
  if (unknown_session_ == 0 || !status.ready) return;
  SessionLookup lookup(options_.brokers, options_.credentials);
  const auto confirmed = lookup.confirmed_sequence(runner_.source_name(), std::exchange(unknown_session_, 0));
  if (confirmed && *confirmed < sequence_) {
    log::warning("{}: the broker has no record of the last run; publishing again what it had not confirmed",
                 runner_.source_name());
  }
}

std::optional<std::uint64_t> FileSource::last_run_confirmed(std::uint64_t session) {
  SessionLookup lookup(options_.brokers, options_.credentials);
  std::optional<std::uint64_t> last;
  for (int same = 0; same < same_replies_required;) {
    const auto reply = lookup.confirmed_sequence(runner_.source_name(), session);
    same = reply && reply == last ? same + 1 : 0;
    if (reply) last = reply;
    if (!pause(request_interval)) return {};
  }
  return last;
}

FileSource::Followed& FileSource::follow(GrowingFile file, std::filesystem::path place) {
  watch_.add(file.fd());
  auto followed = std::make_unique<Followed>(Followed{.file = std::move(file), .place = std::move(place)});
  followed->confirmed = followed->file.position();
  followed->last_read_at = Clock::now();
  followed->last_read_ns = unix_now_ns();
  return *files_.emplace_back(std::move(followed));
}

/// The paths to which the name leads now, and those to which it led when the followed files were opened: a
/// link may have been changed since.
std::vector<std::filesystem::path> FileSource::places(const std::filesystem::path& former) const {
  std::vector<std::filesystem::path> all = file_places(file_.path);
  const auto add = [&](const std::filesystem::path& place) {
    if (!place.empty() && std::find(all.begin(), all.end(), place) == all.end()) all.push_back(place);
  };
  add(former);
  for (const auto& each : files_) add(each->place);
  return all;
}

bool FileSource::follows(FileId id) const {
  return std::any_of(files_.begin(), files_.end(), [&](const auto& each) { return each->file.id() == id; });
}

/// The file that has the name is the last of those that are followed: only the others are dropped when they
/// are quiet. It may have been found among rotated files just before it lost or got the name.
/// @returns whether the file is followed
bool FileSource::make_last(FileId id) {
  const auto found =
      std::find_if(files_.begin(), files_.end(), [&](const auto& each) { return each->file.id() == id; });
  if (found == files_.end()) return false;
  if (found + 1 != files_.end()) {
    std::rotate(found, found + 1, files_.end());
    dirty_ = true;
  }
  return true;
}

/// Checks which file has the name now, and follows it if it is a new one. Then also follows those that had
/// the name since the last look, and the look is repeated until no file loses the name meanwhile: one that is
/// renamed while the folder is read may be missing in what is read. @returns false if the source is to stop.
bool FileSource::open_new_file() {
  constexpr int looks_max = 10;  // the rest follows in the next turn, which its rotations begin
  for (int look = 0; look < looks_max; ++look) {
    const auto id = id_of_name();
    if (!id) return true;  // a file may appear later
    if (!searching_ && !files_.empty() && files_.back()->file.id() == *id) return true;
    auto file = GrowingFile::open(file_.path, {}, line_bytes_max_);
    if (!file) {
      if (file.error().code == ErrorCode::not_found) return true;
      return *id == reported_unreadable_ ||
             (reported_unreadable_ = *id, runner_.bad_record(file.error().text));
    }
    const FileId newest = file->id();
    begin_search();
    if (searching_) follow_rotated(newest);
    if (!make_last(newest)) {
      if (searching_)
        log::info("{}: {} has been replaced by a new file", runner_.source_name(), file_.path.string());
      follow(std::move(*file), file_places(file_.path).back());
      dirty_ = true;
    }
    if (active_ == nullptr) {
      active_ = files_.back().get();
      if (session_ != 0) save();
    }
    if (id_of_name() == newest) {
      searching_ = false;
      return true;
    }
  }
  return true;
}

std::optional<FileId> FileSource::id_of_name() const {
  struct stat status {};
  if (::stat(file_.path.c_str(), &status) != 0) return {};
  return FileId{static_cast<std::uint64_t>(status.st_dev), static_cast<std::uint64_t>(status.st_ino)};
}

/// Sets the bounds of a search, unless one has begun and not ended: what it has found so far may be newer
/// than what it has missed.
void FileSource::begin_search() {
  if (searching_ || (files_.empty() && !resuming_)) return;
  searching_ = true;
  last_created_ns_ = files_.empty() ? 0 : files_.back()->file.created_ns();
  if (!files_.empty()) newest_modified_ns_ = files_.back()->file.modified_ns();
}

/// Several files may have had the name, one after the other, since the last look.
void FileSource::follow_rotated(FileId newest) {
  // A place is one of them if a link led there before.
  std::vector<std::filesystem::path> candidates = rotated_files(places());
  for (const auto& place : places()) candidates.push_back(place);
  for (const auto& path : candidates) {
    auto file = GrowingFile::open(path, {}, line_bytes_max_);
    if (!file || file->id() == newest || follows(file->id())) continue;
    // An older one cannot have had the name since the last look.
    const std::int64_t created_ns = file->created_ns();
    if (created_ns != 0 && created_ns < last_created_ns_) continue;
    const std::int64_t modified_ns = file->modified_ns();
    const bool later = resuming_ ? modified_ns > newest_modified_ns_ : modified_ns >= newest_modified_ns_;
    if (later && std::find(finished_.begin(), finished_.end(), file->id()) == finished_.end())
      follow(std::move(*file), path);
  }
}

bool FileSource::read_all() {
  do {
    files_changed_ = false;
    for (std::size_t i = 0; i < files_.size() && !files_changed_; ++i) {
      if (!read_one(*files_[i])) return false;
    }
  } while (files_changed_);
  return true;
}

bool FileSource::read_one(Followed& followed) {
  LineSplitter& lines = followed.file.lines();
  for (;;) {
    while (lines.take_line()) {
      if (!publish_line(followed)) return false;
    }
    // Also checks for signals now and then.
    if (!runner_.wait_until(timer_, 0)) return false;
    const std::string_view chunk = followed.file.read();
    if (chunk.empty()) return !followed.file.truncated() || handle_truncation(followed);
    if (&followed != active_ && !activate(followed)) return false;
    followed.last_read_at = Clock::now();
    followed.last_read_ns = unix_now_ns();
    lines.feed(chunk);
  }
}

bool FileSource::publish_line(Followed& followed) {
  if (store_ && runner_.status().offered >= reserved_) save();
  const FilePosition position = followed.file.position();
  const std::string where = fmt::format("{}:{}", file_.path.string(), position.line);
  const bool running =
      followed.file.lines().too_long()
          ? runner_.bad_record(fmt::format("{}: expected at most {} bytes, got more", where, line_bytes_max_))
          : runner_.publish_text(where, options_.topic, followed.file.lines().text());
  // If it was not published because the source is to stop, the next run publishes it.
  if (running && store_) unconfirmed_lines_.push_back({runner_.status().offered, position});
  return running;
}

/// Makes this the file that events come from, after all earlier events are confirmed. The state on disk
/// together with the broker's account of the session then says exactly how far each file has been published.
bool FileSource::activate(Followed& followed) {
  if (store_ && !runner_.flush()) return false;
  on_progress(runner_.status());
  active_ = &followed;
  if (store_) save();
  return true;
}

/// Called for a file that was truncated, or replaced by another one with the same inode.
bool FileSource::handle_truncation(Followed& followed) {
  // A file that has lost the name and is being overwritten is a newer copy, or not ours.
  if (&followed != files_.back().get()) return stop_following(followed);
  if (!activate(followed)) return false;
  const FilePosition before = followed.file.position();
  // The newer copy may have overwritten an older one.
  std::erase_if(files_, [&](const auto& each) { return each.get() != &followed && each->file.truncated(); });
  auto copy = find_moved(places(), before, followed.last_read_ns - clock_slack_ns, line_bytes_max_);
  followed.file.restart();
  followed.confirmed = followed.file.position();
  followed.last_read_at = Clock::now();
  if (copy && !follows(copy->id())) {
    // Only the copy contains what was written after our last read.
    follow(std::move(*copy), followed.place);
    const auto here =
        std::find_if(files_.begin(), files_.end(), [&](const auto& each) { return each.get() == &followed; });
    std::rotate(here, files_.end() - 1, files_.end());
    log::info("{}: {} was truncated after a copy was made; reading the rest of the copy first",
              runner_.source_name(), file_.path.string());
  } else {
    log::warning("{}: {} was truncated after line {}; lines that had not been read are lost",
                 runner_.source_name(), file_.path.string(), before.line);
  }
  if (store_) save();
  files_changed_ = true;
  return true;
}

/// Stops following files that have lost the name and are no longer written.
bool FileSource::drop_rotated() {
  for (std::size_t i = 0; i + 1 < files_.size();) {
    Followed& followed = *files_[i];
    if (Clock::now() - followed.last_read_at < quiet_time) {
      ++i;
      continue;
    }
    if (followed.file.lines().take_rest()) {  // the last line has no line end and will not get one
      if (&followed != active_ && !activate(followed)) return false;
      if (!publish_line(followed)) return false;
    }
    if (!stop_following(followed)) return false;
  }
  return true;
}

bool FileSource::stop_following(Followed& followed) {
  if (&followed == active_ && !activate(*files_.back())) return false;
  finished_.push_back(followed.file.id());
  std::erase_if(files_, [&](const auto& each) { return each.get() == &followed; });
  dirty_ = true;
  files_changed_ = true;
  return true;
}

void FileSource::on_progress(const PublisherStatus& status) {
  ask_later(status);
  if (session_ != 0 && status.session != session_) {  // another program has used it
    session_ = status.session;
    dirty_ = true;
  }
  for (; !unconfirmed_lines_.empty() && unconfirmed_lines_.front().sequence <= status.confirmed;
       unconfirmed_lines_.pop_front()) {
    active_->confirmed = unconfirmed_lines_.front().position;
    sequence_ = unconfirmed_lines_.front().sequence;
    dirty_ = true;
  }
  if (dirty_ && session_ != 0 && Clock::now() >= save_at_) save();
}

void FileSource::save() {
  dirty_ = false;
  save_at_ = Clock::now() + save_interval;
  if (!store_) return;
  // The earlier run's events may still be on their way.
  reserved_ = std::max(reserved_, runner_.status().offered + reservation);
  FileState state{.session = session_,
                  .sequence = sequence_,
                  .saved_ns = unix_now_ns(),
                  .reserved = reserved_,
                  .numbering = numbering_,
                  .files = {}};
  for (const auto& each : files_) {
    if (each.get() == active_) state.active = state.files.size();
    state.files.push_back(each->confirmed);
    state.places.push_back(each->place);
  }
  if (auto saved = store_->save(state); !saved && save_problems_.allow(Clock::now())) {
    log::error("{}: {}; a restart would publish again what was published since the last save",
               runner_.source_name(), saved.error().text);
  }
}

bool FileSource::pause(std::chrono::milliseconds time) {
  timer_.set(timer_.now_ns() + std::chrono::nanoseconds(time).count());
  return runner_.wait({timer_.fd()});
}

ExitCode run_file(const SourceOptions& options, const FileOptions& file, Signals& signals) {
  if (options.topic.empty()) return wrong_usage("--topic: expected the topic of the lines, got none");
  if (auto usable = check_source_topic(options.topic); !usable) return wrong_usage(usable.error().text);
  if (options.every) {
    if (auto usable = check_every(*options.every); !usable) return wrong_usage(usable.error().text);
  }
  if (std::filesystem::is_directory(file.path)) {
    return wrong_usage(fmt::format("{}: expected a file, got a directory", file.path.string()));
  }
  // Every line that is not too long must fit into an event with its envelope, so that each is exactly one
  // event.
  constexpr std::size_t envelope_bytes_max = 512;
  if (options.max_event_bytes <= envelope_bytes_max) {
    return wrong_usage(fmt::format("--max-event-bytes: expected more than {}, got {}", envelope_bytes_max,
                                   options.max_event_bytes));
  }
  std::optional<FileStateStore> store;
  std::optional<FileState> saved;
  if (!file.state.empty()) {
    auto opened = FileStateStore::open(file.state);
    if (!opened) return wrong_usage(opened.error().text);
    auto loaded = opened->load();
    if (!loaded) return wrong_usage(loaded.error().text);
    store = std::move(*opened);
    saved = std::move(*loaded);
    log::info("saving the position in {}", file.state.string());
  }
  const std::size_t line_bytes_max = options.max_event_bytes - envelope_bytes_max;
  std::uint64_t numbering = 0;
  SourceOptions numbered = options;
  numbered.number_too_large = true;
  std::optional<FileSource::Restart> restart;
  try {
    const std::string source_name = source_name_of(options, "file");
    numbering = numbering_of(source_name, line_bytes_max);
    SessionLookup lookup(options.brokers, options.credentials);
    if (saved) {
      restart =
          FileSource::find_restart(file, std::move(*saved), numbering, line_bytes_max, lookup, source_name);
    }
  } catch (const std::invalid_argument& error) {
    return wrong_usage(error.what());
  }
  const auto resume = restart ? restart->resume : std::nullopt;
  return run_source(
      numbered, "file", signals,
      [&](Runner& runner) {
        return FileSource(runner, numbered, file, line_bytes_max, numbering, store).run(std::move(restart));
      },
      resume);
}

}  // namespace backplane::sources
