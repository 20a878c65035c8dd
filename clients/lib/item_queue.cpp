#include "clients/lib/item_queue.hpp"

#include <algorithm>
#include <cstring>

#include "core/error/error.hpp"

namespace backplane::client {
namespace {

// The events of one turn fit into one block, if they have the usual size.
constexpr std::size_t block_bytes = 256u << 10;
// Memory that is kept after a burst.
constexpr std::size_t blocks_kept_max = 4;
constexpr std::size_t records_kept_max = 16'384;

}  // namespace

char* ItemQueue::allocate(std::size_t bytes) {
  while (block_ < blocks_.size() && blocks_[block_].size - used_ < bytes) {
    ++block_;
    used_ = 0;
  }
  if (block_ == blocks_.size()) {
    const std::size_t size = std::max(bytes, block_bytes);
    blocks_.push_back({std::make_unique_for_overwrite<char[]>(size), size});
  }
  char* const at = blocks_[block_].bytes.get() + used_;
  used_ += bytes;
  return at;
}

ItemQueue::Bytes ItemQueue::copy(std::string_view topic, std::span<const std::byte> event) {
  char* const at = allocate(topic.size() + event.size());
  std::memcpy(at, topic.data(), topic.size());
  std::memcpy(at + topic.size(), event.data(), event.size());
  return {{at, topic.size()}, std::as_bytes(std::span(at + topic.size(), event.size()))};
}

void ItemQueue::push(PatternSubscription* subscription, Notice notice) {
  Record record;
  record.subscription = subscription;
  record.notice = static_cast<std::uint32_t>(notices_.size());
  notices_.push_back(std::move(notice));
  records_.push_back(record);
}

void ItemQueue::clear() {
  CHECK(empty(), "only records that have been taken are discarded");
  records_.clear();
  if (records_.capacity() > records_kept_max) records_.shrink_to_fit();
  next_ = 0;
  notices_.clear();
  std::erase_if(blocks_, [](const Block& block) { return block.size > block_bytes; });
  if (blocks_.size() > blocks_kept_max) blocks_.resize(blocks_kept_max);
  block_ = 0;
  used_ = 0;
}

}  // namespace backplane::client
