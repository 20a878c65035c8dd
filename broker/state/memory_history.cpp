#include "broker/state/memory_history.hpp"

#include <algorithm>
#include <random>
#include <utility>

#include "broker/state/kept_events.hpp"
#include "broker/state/prefetch.hpp"
#include "broker/state/slice_reader.hpp"

namespace backplane::broker {
namespace {

constexpr std::size_t fetched_ahead = 8;

}  // namespace

MemoryHistory::MemoryHistory(HistoryLimits limits) : MemoryHistory(std::move(limits), HistoryWork{}) {}

MemoryHistory::MemoryHistory(HistoryLimits limits, const HistoryWork& work)
    : events_(std::make_unique<KeptEvents>(std::move(limits), work)), incarnation_(std::random_device{}()) {}

MemoryHistory::~MemoryHistory() = default;

Result<void> MemoryHistory::begin_after(std::span<const Tail> tails, std::uint64_t /*position*/) {
  for (const Tail& tail : tails) events_->add_dropped(tail);
  return {};
}

HistoryStore::Ticket MemoryHistory::append(std::span<const HistoryAppend> batch) {
  // Each event's topic, and what it points to, may be anywhere in memory. They are fetched for the whole
  // batch in parallel instead of one after the other.
  topics_.clear();
  for (const HistoryAppend& item : batch) {
    topics_.push_back(&events_->topic_of(item));
    __builtin_prefetch(topics_.back(), 1);
  }
  for (std::size_t i = 0; i < std::min(batch.size(), fetched_ahead); ++i) {
    events_->prefetch(batch[i], *topics_[i]);
  }
  for (std::size_t i = 0; i < batch.size(); ++i) {
    if (const std::size_t ahead = i + fetched_ahead; ahead < batch.size()) {
      events_->prefetch(batch[ahead], *topics_[ahead]);
      prefetch_lines(batch[ahead].event.data(), batch[ahead].event.size());
    }
    events_->add(batch[i], *topics_[i]);
  }
  return {Accepted::accepted, ++batches_};
}

std::uint64_t MemoryHistory::start_read(const ReadRequest& request) {
  pending_reads_.push_back({++last_ticket_, request});
  return last_ticket_;
}

std::optional<ReadSlice> MemoryHistory::next_slice() {
  if (pending_reads_.empty()) return std::nullopt;
  const PendingRead read = std::move(pending_reads_.front());
  pending_reads_.pop_front();
  // The clock stands still between appends, so this does not touch slices that were returned since.
  const bool all_expired = events_->expire();
  ReadSlice slice = SliceReader(*events_, read.request, incarnation_).read(all_expired);
  slice.ticket = read.ticket;
  return slice;
}

void MemoryHistory::set_limits(HistoryLimits limits) {
  events_->set_limits(std::move(limits));
}

void MemoryHistory::expire(std::int64_t now_ns) {
  events_->advance(now_ns);
  events_->expire();
  events_->evict(events_->work().expire_max);
}

HistoryStore::Figures MemoryHistory::figures() const {
  return events_->figures();
}

HistoryStore::TopicFigures MemoryHistory::figures(std::string_view name) const {
  const KeptTopic* const topic = events_->topics().find(name);
  if (topic == nullptr) return {};
  const bool has_value = topic->value != nullptr && events_->is_current(*topic->value);
  return {has_value ? topic->value->event_bytes : 0, topic->history_events};
}

MemoryHistory::Overhead MemoryHistory::overhead() const {
  return {events_->topics().memory_bytes(), events_->pool().slack_bytes(), events_->pool().system_blocks()};
}

}  // namespace backplane::broker
