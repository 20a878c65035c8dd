#include "broker/log/replicated_log.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "broker/store/bytes.hpp"
#include "core/process/host.hpp"

namespace backplane::broker {
namespace {

// Batches that the engine has confirmed, but that have not come back: more, and the engine is not read.
constexpr std::size_t own_batches_max = 16;
// A batch is lost if the engine has confirmed it and it has not come back after this many times the time of a
// retry, and there is nothing else to read.
constexpr int retries_until_lost = 5;

std::uint64_t not_zero(std::uint64_t random) {
  return random == 0 ? 1 : random;
}

/// The incarnation that a batch with number 0 replaces.
std::uint64_t replaced_by(BatchReader reader) {
  BatchItem item;
  if (!reader.next(item) || item.kind != BatchItemKind::join) return 0;
  return store::ByteReader(item.body).get<std::uint64_t>();
}

}  // namespace

ReplicatedLog::ReplicatedLog(std::unique_ptr<LogEngine> engine, Access& users, Options options)
    : users_(users) {
  open(std::move(engine), std::move(options));
}

void ReplicatedLog::open(std::unique_ptr<LogEngine> engine, Options options) {
  engine_ = std::move(engine);
  options_ = std::move(options);
  if (!options_.random) options_.random = random_id;
  connection_salt_ = options_.random();
  engine_->read_from(1);
}

void ReplicatedLog::restore(LogPlace place) {
  place_ = std::move(place);
  engine_->read_from(place_.index + 1);
}

void ReplicatedLog::join() {
  if (joining_ || joined_) return;
  joining_ = true;
  begin_incarnation();
}

void ReplicatedLog::begin_incarnation() {
  incarnation_ = not_zero(options_.random());
  BatchWriter writer(options_.broker);
  writer.add_join(place_.fences.incarnation_of(options_.broker));
  own_.clear();
  under_way_.reset();
  // Without a time: this broker's clock has not been compared yet, and the stream's never goes back.
  own_.push_back({0,
                  writer.finish({.log = options_.log,
                                 .broker = options_.broker,
                                 .incarnation = incarnation_,
                                 .number = 0,
                                 .applied = place_.index}),
                  options_.unix_now_ns()});
  next_number_ = 1;
  closed_at_ = options_.now();
}

// ── taking ───────────────────────────────────────────────────────────────────────────────────────────────

BatchWriter& ReplicatedLog::writer_for(std::size_t bytes) {
  if (queue_.empty()) return queue_.emplace_back(options_.broker);
  if (queue_.back().empty() || queue_.back().bytes() + bytes <= options_.batch_bytes_max) {
    return queue_.back();
  }
  queue_bytes_ += queue_.back().bytes();
  return queue_.emplace_back(options_.broker);
}

CommitLog::Appended ReplicatedLog::append(const LogEntry& entry) {
  // Without a session, nobody asks for user and connection.
  std::uint64_t peer = 0;
  if (entry.has_session && entry.message != nullptr) {
    // Not the address itself: everybody can read the log.
    peer = static_cast<std::uint64_t>(peer_of(*entry.message));
    if (peer != 0) peer = (peer ^ connection_salt_) * 0x9e37'79b9'7f4a'7c15u;
  }
  writer_for(entry.topic.size() + entry.event_bytes() + BatchWriter::entry_overhead_max)
      .add(entry, users_.name_of(entry.user), Peer{peer});
  return Appended::later;
}

bool ReplicatedLog::has_room() const {
  return queue_bytes_ < options_.queue_bytes_max && failure_.empty() && clock_fault_.empty();
}

std::uint64_t ReplicatedLog::barrier() {
  barrier_wanted_ = true;
  // What has this number is appended later than now, even if some of it was taken before.
  return std::max<std::uint64_t>(next_number_, 1);
}

bool ReplicatedLog::reached(std::uint64_t barrier) const {
  return joined_ && applied_number_ >= barrier;
}

bool ReplicatedLog::is_idle() const {
  return joined_ && own_.empty() && !barrier_wanted_ &&
         std::ranges::all_of(queue_, [](const BatchWriter& each) { return each.empty(); });
}

std::uint64_t ReplicatedLog::applied_by(std::string_view broker) const {
  const auto found = applied_by_.find(broker);
  return found == applied_by_.end() ? 0 : found->second;
}

CommitLog::Condition ReplicatedLog::condition() const {
  if (!failure_.empty()) return {.accepts = false, .failed = true, .text = failure_};
  if (!clock_fault_.empty()) return {.accepts = false, .failed = false, .text = clock_fault_};
  const LogEngine::Condition engine = engine_->condition();
  return {.accepts = engine.accepts, .failed = false, .text = engine.text};
}

void ReplicatedLog::fail_with(std::string text) {
  failure_ = std::move(text);
}

// ── appending ────────────────────────────────────────────────────────────────────────────────────────────

void ReplicatedLog::advance() {
  if (!failure_.empty() || !joining_) return;
  const SteadyClock::time_point now = options_.now();
  watch_append(now);
  if (!under_way_ && now >= append_after_) append_next(now);
}

void ReplicatedLog::watch_append(SteadyClock::time_point now) {
  if (!under_way_) return;
  const auto batch = std::ranges::find(own_, *under_way_, &Own::number);
  switch (engine_->append_state()) {
    case LogEngine::Append::done:
      if (batch != own_.end()) {
        batch->is_confirmed = true;
        batch->confirmed_at = now;
      }
      under_way_.reset();
      return;
    case LogEngine::Append::failed:
      append_after_ = now + options_.retry_pause;
      under_way_.reset();
      return;
    case LogEngine::Append::under_way:
    case LogEngine::Append::none:
      if (now - appended_at_ >= options_.retry_after) under_way_.reset();
      return;
  }
}

/// In order: a batch is appended after the one before is confirmed, or has come back.
void ReplicatedLog::append_next(SteadyClock::time_point now) {
  auto next = std::ranges::find(own_, false, &Own::is_confirmed);
  if (next == own_.end()) {
    if (!close_next(now)) return;
    next = std::prev(own_.end());
  } else if (appended_at_ != SteadyClock::time_point{}) {
    ++counters_.retries;
  }
  append(*next, now);
}

/// Gives a number to the next batch. @returns false if there is none.
bool ReplicatedLog::close_next(SteadyClock::time_point now) {
  if (!joined_ || left_as_ || own_.size() >= own_batches_max) return false;
  const bool has_entries = !queue_.empty() && !queue_.front().empty();
  if (!has_entries && !leaving_ && !barrier_wanted_ && now - closed_at_ < options_.heartbeat) return false;
  if (queue_.empty()) queue_.emplace_back(options_.broker);
  if (leaving_ && !has_entries) {
    queue_.front().add_leave();
    left_as_ = next_number_;
  }
  const std::int64_t closed_ns = options_.unix_now_ns();
  const BatchHeader header{.log = options_.log,
                           .broker = options_.broker,
                           .incarnation = incarnation_,
                           .number = next_number_++,
                           .wall_ns = clock_fault_.empty() ? closed_ns : 0,
                           .applied = place_.index};
  const bool is_last = queue_.size() == 1;
  if (!is_last) queue_bytes_ -= queue_.front().bytes();
  own_.push_back({header.number, queue_.front().finish(header), closed_ns});
  if (!is_last) queue_.pop_front();
  barrier_wanted_ = false;
  closed_at_ = now;
  return true;
}

void ReplicatedLog::append(Own& batch, SteadyClock::time_point now) {
  ++counters_.appends;
  under_way_ = batch.number;
  appended_at_ = now;
  engine_->append(batch.bytes, fmt::format("{:016x}.{}.{:016x}.{}.{}", options_.log, options_.broker,
                                           incarnation_, batch.number, attempt_));
}

// ── reading ──────────────────────────────────────────────────────────────────────────────────────────────

CommittedBatch* ReplicatedLog::next() {
  if (current_.is_damaged() && failure_.empty()) {
    fail_with(fmt::format("the log has a batch at index {} that cannot be applied", place_.index));
  }
  while (failure_.empty()) {
    const auto record = engine_->next();
    if (!record) {
      watch_confirmed();
      // What was applied cannot be undone. Others may be where the log is.
      const LogEngine::Condition engine = engine_->condition();
      if (engine.broken) fail_with(engine.text);
      return nullptr;
    }
    if (record->index <= place_.index) continue;
    if (record->index > place_.index + 1) {
      ++counters_.rereads;
      engine_->read_from(place_.index + 1);
      return nullptr;
    }
    auto reader = BatchReader::open(record->bytes);
    if (!reader) {
      fail_with(fmt::format("the log at index {}: {}", record->index, reader.error().text));
    } else if (reader->header().log != options_.log) {
      fail_with(fmt::format("the log at index {}: expected a batch of log {:016x}, got one of log {:016x}",
                            record->index, options_.log, reader->header().log));
    } else {
      place_.index = record->index;
      const BatchHeader& header = reader->header();
      const bool is_own = header.broker == options_.broker && header.incarnation == incarnation_;
      counters_.read_bytes += record->bytes.size();
      if (is_own) compare_clocks(header.number, record->engine_ns);
      if (!judge(*reader)) continue;
      place_.received_ns = std::max(place_.received_ns, header.wall_ns);
      current_ = CommittedBatch(*reader, users_, place_.received_ns, is_own);
      return &current_;
    }
  }
  return nullptr;
}

/// @returns whether the batch is to be applied.
bool ReplicatedLog::judge(const BatchReader& reader) {
  const BatchHeader& header = reader.header();
  const Fences::Verdict verdict = place_.fences.pass(header, header.number == 0 ? replaced_by(reader) : 0);
  if (verdict == Fences::Verdict::duplicate) ++counters_.duplicates;
  if (verdict == Fences::Verdict::fenced) ++counters_.fenced;
  if (verdict == Fences::Verdict::hole) ++counters_.holes;
  if (verdict == Fences::Verdict::apply) {
    applied_by_.insert_or_assign(std::string(header.broker), header.applied);
    BatchReader items = reader;
    BatchItem item;
    if (items.next(item) && item.kind == BatchItemKind::leave) place_.fences.leave(header.broker);
  }
  if (header.broker != options_.broker || !joining_) return verdict == Fences::Verdict::apply;
  if (header.incarnation == incarnation_) {
    on_own(header.number, verdict);
  } else if (header.number == 0 && verdict == Fences::Verdict::apply) {
    if (joined_) {
      is_replaced_ = true;
      fail_with(
          fmt::format("another broker has joined the log as \"{}\": names must be unique", options_.broker));
      return false;
    }
    begin_incarnation();  // an earlier process's join came late, and ours does not replace it
  }
  return verdict == Fences::Verdict::apply;
}

void ReplicatedLog::on_own(std::uint64_t number, Fences::Verdict verdict) {
  switch (verdict) {
    case Fences::Verdict::apply:
      while (!own_.empty() && own_.front().number <= number) own_.pop_front();
      if (under_way_ && *under_way_ <= number) under_way_.reset();
      applied_number_ = number;
      joined_ = true;
      return;
    case Fences::Verdict::hole:
      if (!own_.empty() && own_.front().is_confirmed) append_again();
      return;
    case Fences::Verdict::duplicate:
    case Fences::Verdict::fenced:
      return;
  }
}

/// The engine stamps a batch between the moment at which it was closed and the one at which it comes back. If
/// the stamp is far from both, the clocks differ.
void ReplicatedLog::compare_clocks(std::uint64_t number, std::int64_t engine_ns) {
  const auto batch = std::ranges::find(own_, number, &Own::number);
  if (engine_ns == 0 || batch == own_.end()) return;
  const std::chrono::nanoseconds behind{engine_ns - options_.unix_now_ns()};
  const std::chrono::nanoseconds ahead{batch->closed_ns - engine_ns};
  clock_fault_.clear();
  if (behind <= options_.clock_offset_max && ahead <= options_.clock_offset_max) return;
  clock_fault_ =
      fmt::format("the clock of this machine is {} s {} the log's",
                  std::chrono::duration_cast<std::chrono::seconds>(std::max(behind, ahead)).count(),
                  behind > ahead ? "behind" : "ahead of");
}

/// Usually, a hole shows that a batch is lost. If it was the last one, or the join, nothing comes after it.
void ReplicatedLog::watch_confirmed() {
  if (own_.empty() || !own_.front().is_confirmed) return;
  if (options_.now() - own_.front().confirmed_at >= retries_until_lost * options_.retry_after) append_again();
}

/// The engine has confirmed a batch and has lost it. It and what follows are appended again, in order. The
/// engine may still know their ids.
void ReplicatedLog::append_again() {
  for (Own& each : own_) each.is_confirmed = false;
  under_way_.reset();
  ++attempt_;
}

}  // namespace backplane::broker
