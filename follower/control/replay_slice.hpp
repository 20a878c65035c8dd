#pragma once
// Replaying history: where it begins, and how it arrives.

#include <chrono>
#include <cstdint>
#include <optional>
#include <variant>
#include <vector>

#include "core/error/error.hpp"
#include "follower/order/delivery.hpp"
#include "follower/order/resume_token.hpp"

namespace backplane {

/// After these positions, from a resume token. The one in the broker's own stream counts. If there is none,
/// the replay begins with ReplaySlice::reset. It then contains everything that the broker has, if the
/// broker's stream is another incarnation of a stream named here, and otherwise what is published from now
/// on. If the broker's stream has not reached the position, the replay begins with a reset too and contains
/// everything.
struct AfterPositions {
  std::vector<StreamPosition> positions;
};
/// After this offset; only if the pattern is one topic. If the topic has not reached the offset, the replay
/// begins with ReplaySlice::reset and contains everything that the broker has.
struct AfterOffset {
  std::uint64_t offset{};
};
/// From what the broker received at this Unix time or later.
struct SinceTime {
  std::int64_t unix_ns{};
};
/// From what the broker received within this time before `at`, by the broker's own clock: the clocks of the
/// two machines need not agree. The request may be sent later than `at`.
struct SinceAgo {
  std::chrono::nanoseconds ago{};
  std::chrono::steady_clock::time_point at{};
};
using ReplayFrom = std::variant<AfterPositions, AfterOffset, SinceTime, SinceAgo>;

/// The end of a part of a replay.
struct ReplaySlice {
  /// All matching events up to `through` have been delivered, as far as history holds them. A reader of live
  /// events continues with those after it.
  bool complete{};
  /// One position for each stream that was read.
  StreamPositions through;

  /// History no longer holds some matching events. replay_more() continues with those that it holds, from
  /// `first_available` on.
  struct Gone {
    std::uint64_t stream{};
    std::uint64_t first_available{};         ///< position
    std::uint64_t first_available_offset{};  ///< 0 unless the pattern is one topic
  };
  std::optional<Gone> gone;
  /// The broker's stream is not the one that was requested, or not that of the last slice. Both numbers are
  /// equal if it is the same stream, but has not reached the position. The following events are of the new
  /// one.
  std::optional<Reset> reset;
  /// The request has ended incomplete: it was refused, or the broker did not reply in time.
  std::optional<Error> error;
};

}  // namespace backplane
