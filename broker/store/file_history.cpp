#include "broker/store/file_history.hpp"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "broker/store/damage.hpp"
#include "broker/store/earlier_streams.hpp"
#include "broker/store/event_log.hpp"
#include "broker/store/log_reader.hpp"
#include "broker/store/log_state.hpp"
#include "broker/store/posix_files.hpp"
#include "core/log/log.hpp"
#include "core/process/wake_fd.hpp"
#include "core/thread/mutex.hpp"

namespace backplane::broker {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds full_retry{250};
constexpr milliseconds maintenance_interval{1000};
constexpr milliseconds idle_wait{60'000};

std::uint64_t nanoseconds(Clock::duration took) {
  return static_cast<std::uint64_t>(std::chrono::nanoseconds(took).count());
}

}  // namespace

class FileHistory::Impl {
 public:
  Impl(FileHistoryOptions options, std::unique_ptr<store::Files> files)
      : options_(std::move(options)),
        files_(std::move(files)),
        state_(options_.limits, options_.sessions_max),
        survey_(state_),
        earlier_(std::make_unique<store::EarlierStreams>(
            *files_, state_, options_.limits,
            store::ReadWork{.scan_bytes_max = options_.scan_bytes_max,
                            .walk_events_max = options_.walk_events_max})),
        log_(*files_, state_,
             {.backplane = options_.backplane,
              .syncs_always = options_.sync == StoreSync::always,
              .is_numbered_by_log = options_.is_numbered_by_log,
              .has_users = options_.has_users,
              .segment_bytes = std::min<std::size_t>(options_.segment_bytes, std::size_t{1} << 30)}) {}
  ~Impl();
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  Result<Opened> open(std::uint64_t new_stream);
  // The writer waits for the first append().
  Result<void> begin_after(std::span<const Tail> tails, std::uint64_t position) {
    return log_.begin_after(tails, position);
  }
  Ticket append(std::span<const HistoryAppend> batch);
  void remember_types(std::string_view descriptor_set);
  [[nodiscard]] int progress_fd() const { return options_.threads ? wake_.fd() : -1; }
  Progress progress();
  Condition condition();
  bool has_stream(std::uint64_t stream);
  std::uint64_t start_read(const ReadRequest& request);
  std::optional<ReadSlice> next_slice();
  void set_limits(HistoryLimits limits);
  void expire(std::int64_t now_ns);
  Figures figures();
  TopicFigures figures(std::string_view name);
  StoreFigures store_figures();
  bool maintain();
  [[nodiscard]] bool syncs_always() const { return options_.sync == StoreSync::always; }

 private:
  struct PendingRead {
    std::uint64_t ticket;
    ReadRequest request;
  };

  void write_loop();
  void sync_loop();
  void read_loop();
  void maintain_loop();
  void start(void (Impl::*loop)());
  void write_without_threads();
  bool sync_once();
  [[nodiscard]] store::LogSlice read(const PendingRead& pending);

  // All of these notify the loop.
  void set_written(std::uint64_t ticket, Clock::duration took);
  void set_health(Health health, std::string text);
  void notify() REQUIRES(mutex_);
  void wake_threads() REQUIRES(mutex_);
  void clear_if_seen() REQUIRES(mutex_);

  const FileHistoryOptions options_;
  const std::unique_ptr<store::Files> files_;
  store::LogState state_;
  store::DamageSurvey survey_;                      // the reader's, or the loop's without threads
  std::unique_ptr<store::EarlierStreams> earlier_;  // the same
  store::EventLog log_;
  WakeFd wake_;

  Mutex mutex_;
  // One for each thread, so that none wakes for the others.
  CondVar queue_filled_;
  CondVar written_more_;
  CondVar read_started_;
  CondVar stops_;
  bool is_open_ GUARDED_BY(mutex_){false};
  bool stopping_ GUARDED_BY(mutex_){false};
  bool writer_done_ GUARDED_BY(mutex_){false};
  store::Batch queue_ GUARDED_BY(mutex_);
  std::uint64_t queued_ticket_ GUARDED_BY(mutex_){0};  // of the last batch in the queue
  std::uint64_t writing_bytes_ GUARDED_BY(mutex_){0};  // taken from the queue, not yet written
  std::uint64_t written_ GUARDED_BY(mutex_){0};
  std::uint64_t synced_ GUARDED_BY(mutex_){0};
  Condition condition_ GUARDED_BY(mutex_);
  std::uint64_t times_full_ GUARDED_BY(mutex_){0};
  bool progress_is_new_ GUARDED_BY(mutex_){false};
  bool is_readable_ GUARDED_BY(mutex_){false};
  std::deque<PendingRead> reads_ GUARDED_BY(mutex_);
  std::deque<store::LogSlice> slices_ GUARDED_BY(mutex_);
  std::uint64_t last_read_ GUARDED_BY(mutex_){0};
  metrics::LatencyHistogram writes_ GUARDED_BY(mutex_);
  metrics::LatencyHistogram syncs_ GUARDED_BY(mutex_);

  Mutex maintenance_mutex_;                            // during a whole maintain()
  log::RateLimit warnings_{std::chrono::seconds{10}};  // the maintenance's

  // The writer's, or the loop's without threads.
  store::Batch batch_;
  std::size_t batch_done_{0};
  bool is_batch_pending_{false};  // not all of it is written
  std::uint64_t batch_ticket_{0};

  store::LogSlice returned_;  // the loop's: the views of the last slice point into it
  std::vector<std::thread> threads_;
};

// --- opening and closing ---

Result<HistoryStore::Opened> FileHistory::Impl::open(std::uint64_t new_stream) {
  auto opened = log_.open(new_stream);
  if (!opened) return opened;
  {
    const MutexLock lock(mutex_);
    is_open_ = true;
    if (options_.threads) queue_.reserve(options_.queue_bytes_max + (1u << 20));
  }
  if (options_.threads) batch_.reserve(options_.queue_bytes_max + (1u << 20));
  if (options_.threads) {
    start(&Impl::write_loop);
    start(&Impl::sync_loop);
    start(&Impl::read_loop);
    start(&Impl::maintain_loop);
  }
  return opened;
}

void FileHistory::Impl::start(void (Impl::*loop)()) {
  threads_.emplace_back([this, loop] { (this->*loop)(); });
}

FileHistory::Impl::~Impl() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
    wake_threads();
  }
  for (std::thread& thread : threads_) thread.join();
  const MutexLock lock(mutex_);
  if (!is_open_ || condition_.health == Health::failed) return;
  if (is_batch_pending_ || !queue_.empty()) {
    log::error("store {}: {} bytes were not written: {}", files_->path(),
               queue_.size() + (is_batch_pending_ ? batch_.size() : 0), condition_.text);
    return;  // and not marked as closed
  }
  if (const auto ok = log_.close(); !ok) log::error("store {}: {}", files_->path(), ok.error().text);
}

// --- what the loop sees ---

void FileHistory::Impl::wake_threads() {
  for (CondVar* const each : {&queue_filled_, &written_more_, &read_started_, &stops_}) each->notify_all();
}

void FileHistory::Impl::notify() {
  if (!std::exchange(is_readable_, true)) wake_.wake();
}

void FileHistory::Impl::clear_if_seen() {
  if (progress_is_new_ || !slices_.empty()) return;
  if (std::exchange(is_readable_, false)) wake_.drain();
}

void FileHistory::Impl::set_written(std::uint64_t ticket, Clock::duration took) {
  const MutexLock lock(mutex_);
  writes_.add(nanoseconds(took));
  // Until the interval is over, further writes are no news for the thread that syncs.
  const bool starts_interval = synced_ >= written_;
  written_ = ticket;
  writing_bytes_ = 0;
  if (condition_.health == Health::full) condition_ = {};
  progress_is_new_ = true;
  if (starts_interval || syncs_always()) written_more_.notify_all();
  if (!syncs_always()) notify();
}

void FileHistory::Impl::set_health(Health health, std::string text) {
  const MutexLock lock(mutex_);
  if (condition_.health == Health::failed) return;
  if (condition_.health != health) {
    if (health == Health::full) ++times_full_;
    if (health == Health::failed) {
      log::error("store {}: {}: no more events are stored", files_->path(), text);
    } else {
      log::warning("store {}: {}: it continues as soon as there is room", files_->path(), text);
    }
  }
  condition_ = {health, std::move(text)};
  progress_is_new_ = true;
  wake_threads();
  notify();
}

HistoryStore::Progress FileHistory::Impl::progress() {
  const MutexLock lock(mutex_);
  progress_is_new_ = false;
  clear_if_seen();
  const std::uint64_t ticket = syncs_always() ? synced_ : written_;
  return {ticket, ticket};
}

HistoryStore::Condition FileHistory::Impl::condition() {
  const MutexLock lock(mutex_);
  return condition_;
}

// --- writing ---

HistoryStore::Ticket FileHistory::Impl::append(std::span<const HistoryAppend> batch) {
  if (!options_.threads) write_without_threads();  // what is left, because the disk was full
  for (const HistoryAppend& item : batch) {
    if (item.topic_mark == nullptr || *item.topic_mark != nullptr) continue;
    const MutexLock lock(state_.mutex);
    *item.topic_mark = &state_.topic_of(item.topic);
  }
  Ticket ticket;
  bool was_empty = false;
  {
    const MutexLock lock(mutex_);
    if (condition_.health == Health::failed) return {Accepted::failed, 0};
    if (queue_.size() + writing_bytes_ > options_.queue_bytes_max ||
        (!options_.threads && condition_.health == Health::full)) {
      return {Accepted::busy, 0};
    }
    was_empty = queue_.empty();
    for (const HistoryAppend& item : batch) {
      queue_.add(item,
                 item.topic_mark == nullptr ? nullptr : static_cast<store::StoredTopic*>(*item.topic_mark));
    }
    ticket = {Accepted::accepted, ++queued_ticket_};
  }
  if (was_empty) queue_filled_.notify_all();  // without the lock, for which the writer would wait
  if (!options_.threads) write_without_threads();
  return ticket;
}

void FileHistory::Impl::remember_types(std::string_view descriptor_set) {
  {
    const MutexLock lock(state_.mutex);
    if (std::ranges::find(state_.types, descriptor_set) != state_.types.end()) return;
  }
  {
    const MutexLock lock(mutex_);
    queue_.add_types(descriptor_set);
    ++queued_ticket_;
    queue_filled_.notify_all();
  }
  if (!options_.threads) write_without_threads();
}

void FileHistory::Impl::write_loop() {
  for (;;) {
    {
      const MutexLock lock(mutex_);
      while (queue_.empty() && !stopping_ && condition_.health != Health::failed) {
        (void)queue_filled_.wait_until(mutex_, Clock::now() + idle_wait);
      }
      if (queue_.empty() || condition_.health == Health::failed) {
        writer_done_ = true;
        written_more_.notify_all();
        return;
      }
      batch_.clear();
      std::swap(batch_, queue_);
      batch_ticket_ = queued_ticket_;
      writing_bytes_ = batch_.size();
    }
    batch_done_ = 0;
    is_batch_pending_ = true;
    const auto begin = Clock::now();
    for (;;) {
      const auto ok = log_.write(batch_, batch_done_);
      if (ok) break;
      const bool is_full = ok.error().code == ErrorCode::exhausted;
      set_health(is_full ? Health::full : Health::failed, ok.error().text);
      const MutexLock lock(mutex_);
      const auto retry = Clock::now() + full_retry;
      while (is_full && !stopping_ && queue_filled_.wait_until(mutex_, retry)) {
      }
      if (!is_full || stopping_ || condition_.health == Health::failed) {
        writer_done_ = true;
        written_more_.notify_all();
        return;
      }
    }
    is_batch_pending_ = false;
    set_written(batch_ticket_, Clock::now() - begin);
  }
}

void FileHistory::Impl::write_without_threads() {
  for (;;) {
    if (!is_batch_pending_) {
      const MutexLock lock(mutex_);
      if (queue_.empty()) return;
      batch_.clear();
      std::swap(batch_, queue_);
      batch_ticket_ = queued_ticket_;
      batch_done_ = 0;
      is_batch_pending_ = true;
    }
    const auto begin = Clock::now();
    if (const auto ok = log_.write(batch_, batch_done_); !ok) {
      const bool is_full = ok.error().code == ErrorCode::exhausted;
      return set_health(is_full ? Health::full : Health::failed, ok.error().text);
    }
    is_batch_pending_ = false;
    set_written(batch_ticket_, Clock::now() - begin);
    if (syncs_always() && !sync_once()) return;
  }
}

bool FileHistory::Impl::sync_once() {
  std::uint64_t ticket = 0;
  {
    const MutexLock lock(mutex_);
    ticket = written_;
  }
  const auto begin = Clock::now();
  const auto ok = log_.sync();
  const auto took = Clock::now() - begin;
  if (!ok) {
    set_health(Health::failed, ok.error().text);
    return false;
  }
  const MutexLock lock(mutex_);
  syncs_.add(nanoseconds(took));
  synced_ = std::max(synced_, ticket);
  if (syncs_always()) {
    progress_is_new_ = true;
    notify();
  }
  return true;
}

void FileHistory::Impl::sync_loop() {
  if (options_.sync == StoreSync::off) return;
  auto next = Clock::now();
  for (;;) {
    {
      const MutexLock lock(mutex_);
      for (;;) {
        if (condition_.health == Health::failed) return;
        if (writer_done_ && synced_ >= written_) return;
        if (synced_ < written_) {
          if (syncs_always() || writer_done_) break;
          if (!written_more_.wait_until(mutex_, next)) break;
        } else {
          (void)written_more_.wait_until(mutex_, Clock::now() + idle_wait);
        }
      }
    }
    next = Clock::now() + options_.sync_interval;
    if (!sync_once()) return;
  }
}

// --- reading ---

bool FileHistory::Impl::has_stream(std::uint64_t stream) {
  const MutexLock lock(state_.mutex);
  return std::ranges::find(state_.earlier, stream) != state_.earlier.end();
}

std::uint64_t FileHistory::Impl::start_read(const ReadRequest& request) {
  const MutexLock lock(mutex_);
  reads_.push_back({++last_read_, request});
  read_started_.notify_all();
  return last_read_;
}

store::LogSlice FileHistory::Impl::read(const PendingRead& pending) {
  store::LogSlice slice = earlier_->read(pending.request, survey_);
  slice.slice.ticket = pending.ticket;
  return slice;
}

void FileHistory::Impl::read_loop() {
  for (;;) {
    std::optional<PendingRead> pending;
    const bool has_other_work = !survey_.is_complete();
    {
      const MutexLock lock(mutex_);
      while (reads_.empty() && !stopping_ && !has_other_work) {
        (void)read_started_.wait_until(mutex_, Clock::now() + idle_wait);
      }
      if (stopping_) return;
      if (!reads_.empty()) {
        pending = std::move(reads_.front());
        reads_.pop_front();
      }
    }
    if (!pending) {
      survey_.step(options_.scan_bytes_max);
      continue;
    }
    store::LogSlice slice = read(*pending);
    const MutexLock lock(mutex_);
    slices_.push_back(std::move(slice));
    notify();
  }
}

std::optional<ReadSlice> FileHistory::Impl::next_slice() {
  std::optional<PendingRead> pending;
  {
    const MutexLock lock(mutex_);
    if (options_.threads) {
      if (slices_.empty()) {
        clear_if_seen();
        return std::nullopt;
      }
      returned_ = std::move(slices_.front());
      slices_.pop_front();
      clear_if_seen();
      return returned_.slice;
    }
    if (reads_.empty()) return std::nullopt;
    pending = std::move(reads_.front());
    reads_.pop_front();
  }
  returned_ = read(*pending);
  return returned_.slice;
}

// --- limits, maintenance, figures ---

void FileHistory::Impl::set_limits(HistoryLimits limits) {
  const MutexLock lock(state_.mutex);
  state_.set_limits(std::move(limits));
}

void FileHistory::Impl::expire(std::int64_t now_ns) {
  {
    const MutexLock lock(state_.mutex);
    state_.clock.advance(now_ns);
  }
  if (options_.threads) return;
  write_without_threads();
  if (options_.sync == StoreSync::interval) (void)sync_once();
  (void)maintain();
}

bool FileHistory::Impl::maintain() {
  const MutexLock only_one(maintenance_mutex_);
  const auto more = log_.maintain();
  if (more) return *more;
  // It tries again next time, unless a sync of the log has failed: nobody knows what is on the disk.
  if (const auto ok = log_.sync_error(); !ok) {
    set_health(Health::failed, ok.error().text);
  } else if (warnings_.allow(Clock::now())) {
    log::warning("store {}: {}", files_->path(), more.error().text);
  }
  return false;
}

void FileHistory::Impl::maintain_loop() {
  for (;;) {
    {
      const MutexLock lock(mutex_);
      const auto next = Clock::now() + maintenance_interval;
      while (!stopping_ && stops_.wait_until(mutex_, next)) {
      }
      if (stopping_ || condition_.health == Health::failed) return;
    }
    while (maintain()) {
      const MutexLock lock(mutex_);
      if (stopping_) return;
    }
  }
}

HistoryStore::Figures FileHistory::Impl::figures() {
  Figures figures;
  {
    const MutexLock lock(state_.mutex);
    figures.events = state_.records();
    figures.values = state_.values;
    figures.bytes = figures.disk_bytes = state_.log_bytes() + state_.other_bytes;
    figures.disk_bytes_max = state_.limits.bytes_max;
    figures.oldest_ns = state_.oldest_time();
    figures.written_events = state_.written_events;
    figures.evicted_events = state_.evicted_events;
    figures.expired_events = state_.expired_events;
    figures.through_position = state_.position;
    figures.segments = state_.segments.size();
    figures.freed_bytes = state_.freed_bytes;
    figures.damaged_ranges = state_.damaged_ranges;
  }
  figures.written_bytes = log_.written_bytes();
  figures.cleaned_bytes = log_.cleaned_bytes();
  const MutexLock lock(mutex_);
  figures.queued_bytes = queue_.size() + writing_bytes_;
  figures.writes = writes_;
  figures.syncs = syncs_;
  figures.times_full = times_full_;
  return figures;
}

HistoryStore::TopicFigures FileHistory::Impl::figures(std::string_view name) {
  const MutexLock lock(state_.mutex);
  const store::StoredTopic* const topic = state_.topics.find(name);
  if (topic == nullptr || topic->position == 0) return {};
  const std::size_t overhead = store::record_header_bytes + topic->name_bytes;
  TopicFigures figures;
  const std::uint64_t event_bytes =
      topic->record_bytes - std::min<std::size_t>(topic->record_bytes, overhead);
  if (state_.has_current_value(*topic)) figures.value_bytes = event_bytes;
  const Retention& limit = state_.retention(*topic);
  const bool is_all_too_old = add_bounded(topic->time, limit.history_age.count()) <= state_.clock.now() ||
                              topic->position <= state_.floor || event_bytes > limit.history_bytes;
  if (!is_all_too_old) figures.history_events = std::min<std::uint64_t>(topic->offset, limit.history_events);
  return figures;
}

FileHistory::StoreFigures FileHistory::Impl::store_figures() {
  StoreFigures figures;
  {
    const MutexLock lock(state_.mutex);
    figures.topics_bytes = state_.topics.memory_bytes();
    for (const auto& segment : state_.segments) {
      figures.index_bytes += sizeof(store::Segment) + segment->blocks.capacity() * sizeof(store::Block);
    }
  }
  return figures;
}

// --- the public class ---

FileHistory::FileHistory(const FileHistoryOptions& options)
    : FileHistory(options, store::posix_files(options.path)) {}
FileHistory::FileHistory(FileHistoryOptions options, std::unique_ptr<store::Files> files)
    : impl_(std::make_unique<Impl>(std::move(options), std::move(files))) {}
FileHistory::~FileHistory() = default;

Result<HistoryStore::Opened> FileHistory::open(std::uint64_t new_stream) {
  return impl_->open(new_stream);
}
Result<void> FileHistory::begin_after(std::span<const Tail> tails, std::uint64_t position) {
  return impl_->begin_after(tails, position);
}
HistoryStore::Ticket FileHistory::append(std::span<const HistoryAppend> batch) {
  return impl_->append(batch);
}
int FileHistory::progress_fd() const {
  return impl_->progress_fd();
}
HistoryStore::Progress FileHistory::progress() const {
  return impl_->progress();
}
HistoryStore::Guarantee FileHistory::guarantee() const {
  return impl_->syncs_always() ? Guarantee::machine : Guarantee::none;
}
HistoryStore::Condition FileHistory::condition() const {
  return impl_->condition();
}
void FileHistory::remember_types(std::string_view descriptor_set) {
  impl_->remember_types(descriptor_set);
}
std::uint64_t FileHistory::start_read(const ReadRequest& request) {
  return impl_->start_read(request);
}
std::optional<ReadSlice> FileHistory::next_slice() {
  return impl_->next_slice();
}
void FileHistory::set_limits(HistoryLimits limits) {
  impl_->set_limits(std::move(limits));
}
void FileHistory::expire(std::int64_t now_ns) {
  impl_->expire(now_ns);
}
HistoryStore::Figures FileHistory::figures() const {
  return impl_->figures();
}
HistoryStore::TopicFigures FileHistory::figures(std::string_view topic) const {
  return impl_->figures(topic);
}
FileHistory::StoreFigures FileHistory::store_figures() const {
  return impl_->store_figures();
}
bool FileHistory::has_stream(std::uint64_t stream) const {
  return impl_->has_stream(stream);
}
bool FileHistory::maintain() {
  return impl_->maintain();
}

}  // namespace backplane::broker
