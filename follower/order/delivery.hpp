#pragma once
// What reaches a reader: events, and word of those that cannot.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "backplane/gap_reason.hpp"
#include "core/wire/stamp.hpp"

namespace backplane {

/// Which broker and backplane a stream belongs to. The lower half of the number is the incarnation.
[[nodiscard]] constexpr std::uint32_t origin(std::uint64_t stream) noexcept {
  return static_cast<std::uint32_t>(stream >> 32);
}

/// One event as it reaches a reader. The views hold until the callback returns.
struct Delivery {
  std::string_view topic;
  std::span<const std::byte> event;  ///< stamped: a backplane.v1.Event, its last 47 bytes the stamp
  wire::Stamp stamp;
  /// Its position is below one of the same stream that was delivered before: it was lost on the way, and
  /// that showed only later. Within its topic it is in order all the same.
  bool late = false;
  /// A number of the listener's, which it may change: kept with what is known of this topic of this stream,
  /// 0 at first, so that it finds its own things about the topic without looking for the name. Holds as the
  /// views do. nullptr: there is none this time.
  std::uint64_t* mark = nullptr;
};

/// Events of one topic that this reader will never get. The views hold until the callback returns.
struct Gap {
  std::uint64_t stream{};
  std::string_view topic;
  /// Offsets, both included. `first` is 0 where nobody knows it: the topic had not been seen since the
  /// reading began, and history does not reach back so far.
  std::uint64_t first{};
  std::uint64_t last{};
  GapReason reason{GapReason::history_gone};
  std::uint64_t position{};  ///< of the last of them, or behind it and before the topic's next event
};

/// A broker came back without its history: numbering began anew, and what the end of the old stream
/// still had for us is lost; nobody knows how much that is.
struct Reset {
  std::uint64_t old_stream{};
  std::uint64_t new_stream{};
};

}  // namespace backplane
