#include "fanout/log/segment.hpp"

#include <algorithm>
#include <cstring>

namespace backplane::fanout {

Segment::Segment(std::size_t bytes_max, std::size_t messages_max, std::size_t readers)
    : bytes_max_(bytes_max),
      bytes_(std::make_unique_for_overwrite<char[]>(bytes_max)),
      begins_(messages_max + 1),
      routes_(messages_max),
      topics_(messages_max),
      offsets_(messages_max),
      streams_(messages_max),
      positions_(messages_max),
      pins_(readers) {}

void Segment::open(std::uint64_t serial, std::uint64_t base) {
  serial_ = serial;
  base_ = base;
  count_ = 0;
  begins_[0] = 0;
  std::fill(pins_.begin(), pins_.end(), Pin{});
  next_.store(nullptr, std::memory_order_relaxed);
  next_returned_ = nullptr;
  users_.store(1 + pins_.size(), std::memory_order_relaxed);
}

void Segment::append(std::string_view bytes, const MessageInfo& info) noexcept {
  const std::uint32_t begin = begins_[count_];
  if (!bytes.empty()) std::memcpy(bytes_.get() + begin, bytes.data(), bytes.size());
  begins_[count_ + 1] = begin + static_cast<std::uint32_t>(bytes.size());
  routes_[count_] = info.route;
  topics_[count_] = info.topic;
  offsets_[count_] = info.offset;
  streams_[count_] = info.stream;
  positions_[count_] = info.position;
  ++count_;
}

std::uint32_t Segment::whole_messages(std::uint32_t first, std::uint32_t last,
                                      std::size_t count) const noexcept {
  const auto begin = begins_.begin() + first + 1;
  const auto end = begins_.begin() + last + 1;
  return static_cast<std::uint32_t>(std::upper_bound(begin, end, begins_[first] + count) - begin);
}

}  // namespace backplane::fanout
