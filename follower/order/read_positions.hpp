#pragma once
// How far each of several streams has been read.

#include <cstdint>

#include "follower/order/resume_token.hpp"

namespace backplane {

/// The position up to which each stream has been read: everything up to it has been delivered.
/// (ReaderProgress also knows what has been delivered above it.)
class ReadPositions {
 public:
  /// Everything up to `position` has been read. Positions never go back.
  void advance(std::uint64_t stream, std::uint64_t position) {
    if (!positions_.empty() && positions_.front().stream == stream) [[likely]] {
      if (positions_.front().position < position) positions_.front().position = position;
      return;
    }
    advance_other({stream, position});
  }
  void replace(std::uint64_t old_stream, const StreamPosition& to);
  [[nodiscard]] const StreamPositions& all() const noexcept { return positions_; }

 private:
  void advance_other(const StreamPosition& to);
  StreamPositions positions_;
};

}  // namespace backplane
