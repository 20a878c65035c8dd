#include "fanout/loss_ranges.hpp"

namespace backplane::fanout {
namespace {

// clear() keeps the memory of at most so many ranges.
constexpr std::size_t ranges_kept = 64;

}  // namespace

void LossRanges::add(TopicId topic, std::uint64_t offset) {
  if (!losses_.empty() && losses_.back().topic == topic && losses_.back().last + 1 == offset) {
    losses_.back().last = offset;  // the usual case: several messages of one topic in a row
    return;
  }
  const std::uint64_t next = losses_.size();
  std::uint64_t& index = newest_.at(topic, next);
  // Ranges are not joined across a hole: the messages in it were not queued for this client.
  if (index != next && losses_[index].last + 1 == offset) {
    losses_[index].last = offset;
    return;
  }
  index = next;
  losses_.push_back({topic, offset, offset});
}

void LossRanges::clear() {
  if (losses_.capacity() > ranges_kept) {
    *this = {};
    return;
  }
  losses_.clear();
  newest_.clear();
}

}  // namespace backplane::fanout
