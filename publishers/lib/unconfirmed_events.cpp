#include "publishers/lib/unconfirmed_events.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/error/error.hpp"
#include "publishers/lib/event_encoder.hpp"

namespace backplane::publishing {
namespace {

// Below malloc's mmap threshold, so that a busy publisher does not fault pages in again and again.
constexpr std::size_t segment_bytes = 64u << 10;

/// Precedes the bytes of each record: [topic][event].
struct RecordSizes {
  std::uint32_t topic;
  std::uint32_t event;
};

RecordSizes sizes_at(const char* record) noexcept {
  RecordSizes sizes;
  std::memcpy(&sizes, record, sizeof sizes);
  return sizes;
}

std::size_t record_bytes(const RecordSizes& sizes) noexcept {
  return sizeof(RecordSizes) + sizes.topic + sizes.event;
}

}  // namespace

std::size_t UnconfirmedEvents::event_bytes(std::size_t tail_bytes) const noexcept {
  char sequence[sequence_field_bytes_max];
  return head_.size() + encode_sequence(offered_ + 1, sequence) + tail_bytes;
}

std::size_t UnconfirmedEvents::footprint(std::size_t topic_bytes, std::size_t event_bytes) noexcept {
  return sizeof(RecordSizes) + topic_bytes + event_bytes;
}

bool UnconfirmedEvents::append(std::string_view topic, std::string_view tail) {
  char sequence[sequence_field_bytes_max];
  const std::size_t sequence_bytes = encode_sequence(offered_ + 1, sequence);
  const RecordSizes sizes{static_cast<std::uint32_t>(topic.size()),
                          static_cast<std::uint32_t>(head_.size() + sequence_bytes + tail.size())};
  const std::size_t size = record_bytes(sizes);
  if (size > bytes_max_ - bytes_) return false;

  char* out = reserve(size);
  const auto put = [&out](const void* bytes, std::size_t count) {
    std::memcpy(out, bytes, count);
    out += count;
  };
  put(&sizes, sizeof sizes);
  put(topic.data(), topic.size());
  put(head_.data(), head_.size());
  put(sequence, sequence_bytes);
  put(tail.data(), tail.size());
  bytes_ += size;
  segments_.back().last = ++offered_;
  return true;
}

char* UnconfirmedEvents::reserve(std::size_t size) {
  if (segments_.empty() || segments_.back().capacity - segments_.back().used < size) {
    if (spare_.data && size <= spare_.capacity) {
      segments_.push_back(std::exchange(spare_, Segment{}));
    } else {
      const std::size_t capacity = std::max(size, segment_bytes);
      segments_.push_back({std::make_unique_for_overwrite<char[]>(capacity), capacity, 0, 0});
    }
  }
  Segment& last = segments_.back();
  char* const record = last.data.get() + last.used;
  last.used += size;
  return record;
}

void UnconfirmedEvents::skip_to_record(Cursor& cursor) const noexcept {
  while (cursor.segment < segments_.size() && cursor.offset == segments_[cursor.segment].used) {
    ++cursor.segment;
    cursor.offset = 0;
  }
}

std::size_t UnconfirmedEvents::peek(std::span<EventFrames> out) const {
  const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), offered_ - sent_));
  Cursor cursor = first_unsent_;
  for (std::size_t i = 0; i < count; ++i) {
    skip_to_record(cursor);
    const char* record = segments_[cursor.segment].data.get() + cursor.offset;
    const RecordSizes sizes = sizes_at(record);
    const char* topic = record + sizeof sizes;
    out[i] = {{topic, sizes.topic}, {topic + sizes.topic, sizes.event}};
    cursor.offset += record_bytes(sizes);
  }
  return count;
}

void UnconfirmedEvents::mark_sent(std::size_t count) {
  CHECK(count <= offered_ - sent_, "the events marked as sent have been offered");
  for (std::size_t i = 0; i < count; ++i) {
    skip_to_record(first_unsent_);
    first_unsent_.offset +=
        record_bytes(sizes_at(segments_[first_unsent_.segment].data.get() + first_unsent_.offset));
  }
  sent_ += count;
}

void UnconfirmedEvents::confirm(std::uint64_t sequence) {
  CHECK(sequence <= offered_, "the events to be confirmed have been offered");
  if (sequence <= confirmed_) return;
  // Drop whole segments without reading them: they were sent a while ago and are no longer in any cache.
  while (!segments_.empty() && segments_.front().last <= sequence) {
    bytes_ -= segments_.front().used - first_unconfirmed_.offset;
    confirmed_ = segments_.front().last;
    drop_front_segment();
  }
  for (; confirmed_ < sequence; ++confirmed_) {
    const std::size_t size = record_bytes(sizes_at(segments_.front().data.get() + first_unconfirmed_.offset));
    first_unconfirmed_.offset += size;
    bytes_ -= size;
  }
  if (sent_ < confirmed_) {
    sent_ = confirmed_;
    first_unsent_ = first_unconfirmed_;
  }
}

void UnconfirmedEvents::drop_front_segment() {
  // If part of the segment is unsent, confirm() advances `first_unsent_`.
  Segment gone = std::move(segments_.front());
  segments_.pop_front();
  first_unconfirmed_ = {};
  if (first_unsent_.segment == 0) {
    first_unsent_ = {};
  } else {
    --first_unsent_.segment;
  }
  gone.used = 0;
  if (gone.capacity == segment_bytes) spare_ = std::move(gone);
}

void UnconfirmedEvents::change_head(std::string_view head) {
  CHECK(head.size() == head_.size(), "the heads of a publisher have one size");
  head_ = head;
  std::size_t offset = first_unconfirmed_.offset;
  for (Segment& segment : segments_) {
    while (offset < segment.used) {
      char* const record = segment.data.get() + offset;
      const RecordSizes sizes = sizes_at(record);
      std::memcpy(record + sizeof sizes + sizes.topic, head_.data(), head_.size());
      offset += record_bytes(sizes);
    }
    offset = 0;
  }
}

void UnconfirmedEvents::rewind() noexcept {
  sent_ = confirmed_;
  first_unsent_ = first_unconfirmed_;
}

}  // namespace backplane::publishing
