#include "fanout/log/log.hpp"

#include <algorithm>
#include <utility>

#include "core/error/error.hpp"

namespace backplane::fanout {
namespace {

// How many entries of reclaimed segments may stay among those in use, before they are removed together.
constexpr std::size_t reclaimed_max = 64;

}  // namespace

Log::Log(LogOptions options, std::size_t readers) : options_(options), readers_(readers) {
  in_use_.reserve(2 * reclaimed_max);
  roll(0);
  first_ = current_;
}

Log::~Log() {
  reclaim_returned();
  for (const SegmentInUse& entry : in_use_) delete entry.segment;
}

void Log::append(std::string_view bytes, const MessageInfo& info) {
  CHECK(!bytes.empty(), "a message of a log has at least one byte");
  CHECK(bytes.size() <= message_bytes_max, "a message of a log has at most 2 GiB");
  if (!current_->fits(bytes.size())) roll(bytes.size());
  current_->append(bytes, info);
  ++appended_;
}

std::unique_ptr<Segment> Log::make_segment(std::size_t size) {
  // A message that is larger than a segment gets a segment of its own.
  if (size > options_.segment_bytes) return std::make_unique<Segment>(size, 1, readers_);
  if (spare_.empty()) {
    return std::make_unique<Segment>(options_.segment_bytes, options_.segment_messages, readers_);
  }
  auto segment = std::move(spare_.back());
  spare_.pop_back();
  return segment;
}

void Log::roll(std::size_t size) {
  reclaim_returned();
  Segment* const segment = make_segment(size).release();
  segment->open(++last_serial_, appended_);
  in_use_.push_back({last_serial_, segment});
  bytes_in_use_ += segment->bytes_max_;
  Segment* const before = std::exchange(current_, segment);
  if (before != nullptr) {
    before->next_.store(segment, std::memory_order_release);
    release(*before);
  }
  if (bytes_in_use_ > options_.bytes_max) evict();
}

void Log::release(Segment& segment) noexcept {
  if (segment.users_.fetch_sub(1, std::memory_order_acq_rel) == 1) return_segment(segment);
}

void Log::return_segment(Segment& segment) noexcept {
  // Only the writer pops from this stack, and it always takes everything.
  Segment* head = returned_.load(std::memory_order_relaxed);
  do {
    segment.next_returned_ = head;
  } while (
      !returned_.compare_exchange_weak(head, &segment, std::memory_order_release, std::memory_order_relaxed));
}

void Log::reclaim_returned() {
  Segment* returned = returned_.exchange(nullptr, std::memory_order_acquire);
  while (returned != nullptr) reclaim(std::exchange(returned, returned->next_returned_));
  if (reclaimed_ > reclaimed_max && reclaimed_ > in_use_.size() / 2) {
    std::erase_if(in_use_, [](const SegmentInUse& entry) { return entry.segment == nullptr; });
    reclaimed_ = 0;
  }
}

void Log::reclaim(Segment* segment) {
  const auto entry =
      std::lower_bound(in_use_.begin(), in_use_.end(), segment->serial_,
                       [](const SegmentInUse& each, std::uint64_t serial) { return each.serial < serial; });
  entry->segment = nullptr;
  ++reclaimed_;
  bytes_in_use_ -= segment->bytes_max_;
  std::unique_ptr<Segment> owned(segment);
  const bool usual = segment->bytes_max_ == options_.segment_bytes;
  if (usual && spare_.size() < options_.spare_segments_max) spare_.push_back(std::move(owned));
}

void Log::evict() {
  // An eighth more than necessary. Otherwise readers would have to unpin something for each new segment.
  std::size_t left = bytes_in_use_ - options_.bytes_max + options_.bytes_max / 8;
  for (const SegmentInUse& entry : in_use_) {
    if (entry.segment == nullptr) continue;
    if (left == 0 || entry.segment == current_) {
      evicted_.store(entry.segment->base_, std::memory_order_relaxed);
      return;
    }
    left -= std::min(left, entry.segment->bytes_max_);
  }
}

}  // namespace backplane::fanout
