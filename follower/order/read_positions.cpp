#include "follower/order/read_positions.hpp"

#include <algorithm>

namespace backplane {

void ReadPositions::advance_other(const StreamPosition& to) {
  const auto found = std::find_if(positions_.begin(), positions_.end(),
                                  [&](const StreamPosition& each) { return each.stream == to.stream; });
  if (found == positions_.end()) return positions_.push_back(to);
  found->position = std::max(found->position, to.position);
}

void ReadPositions::replace(std::uint64_t old_stream, const StreamPosition& to) {
  if (std::erase_if(positions_, [&](const StreamPosition& each) { return each.stream == old_stream; }) == 0)
    return;
  advance(to.stream, to.position);
}

}  // namespace backplane
