#pragma once
// GapRepair history: where it begins, and how the answer comes.

#include <cstdint>
#include <optional>
#include <variant>
#include <vector>

#include "core/error/error.hpp"
#include "follower/order/delivery.hpp"
#include "follower/order/resume_token.hpp"

namespace backplane {

/// Behind these places, as a resume token has them. Of several the one of the broker's own stream counts.
/// Where there is none of it, the answer begins with ReplaySlice::reset: with all that the broker has
/// where it is another life of a stream named here, or one that has not come so far, else with what comes
/// from now on.
struct AfterPositions {
  std::vector<StreamPosition> positions;
};
/// What came after this offset; only with a pattern that is one topic. Where the topic has not come so far,
/// the answer begins with ReplaySlice::reset and has all that the broker has.
struct AfterOffset {
  std::uint64_t offset{};
};
/// What the broker received at this Unix time or later.
struct SinceTime {
  std::int64_t unix_ns{};
};
using ReplayFrom = std::variant<AfterPositions, AfterOffset, SinceTime>;

/// Between two events of a replay, or at its end.
struct ReplaySlice {
  /// All that matches up to `through_position` of `through_stream` has been given (as far as history held
  /// it): whoever has the live events too goes on with those behind it.
  bool complete{};
  std::uint64_t through_stream{};
  std::uint64_t through_position{};

  /// Something that matches is no longer held. replay_more() goes on with everything that is, from
  /// `first_available` on.
  struct Gone {
    std::uint64_t first_available{};         ///< position
    std::uint64_t first_available_offset{};  ///< where the pattern is one topic, else 0
  };
  std::optional<Gone> gone;
  /// The broker's stream is another one than was asked for, or than the last slice was of; both numbers are
  /// the same where it is called the same and has not come so far. What follows is of the new one.
  std::optional<Reset> reset;
  /// The request has ended without being complete: refused, or not answered in time.
  std::optional<Error> error;
};

}  // namespace backplane
