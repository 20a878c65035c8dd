#include "fanout/stream_progress.hpp"

#include <algorithm>

namespace backplane::fanout {

bool StreamProgress::cover(const Positions& positions, const Skip& skip) noexcept {
  return std::all_of(skip.ends().begin(), skip.ends().end(), [&](const Skip::StreamPosition& end) {
    const auto index = static_cast<std::size_t>(end.stream);
    return index < positions.size() && positions[index] >= end.position;
  });
}

bool StreamProgress::has_passed(const Skip& skip) const noexcept {
  return cover(reached_, skip);
}

bool StreamProgress::is_below_low_watermark(const Skip& skip) const noexcept {
  return cover(low_watermarks_, skip);
}

}  // namespace backplane::fanout
