#include "fanout/loss_ranges.hpp"

namespace backplane::fanout {
namespace {

// So much memory is kept for the next drought; more is given back.
constexpr std::size_t ranges_kept = 64;

}  // namespace

void LossRanges::add(TopicId topic, std::uint64_t offset) {
  if (!losses_.empty() && losses_.back().topic == topic && losses_.back().last + 1 == offset) {
    losses_.back().last = offset;  // a run of one topic is the usual case
    return;
  }
  const std::uint64_t next = losses_.size();
  std::uint64_t& index = newest_.at(topic, next);
  // A hole between two of a topic's offsets was never this client's to lose.
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
