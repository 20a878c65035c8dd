#pragma once
// What reaches a reader: events, and notices of those that are lost.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "backplane/gap_reason.hpp"
#include "core/wire/stamp.hpp"

namespace backplane {

/// Which broker and backplane a stream belongs to. The lower half of the number is the incarnation.
[[nodiscard]] constexpr std::uint32_t origin(std::uint64_t stream) noexcept {
  return static_cast<std::uint32_t>(stream >> 32);
}

/// One event. The views are valid until the callback returns.
struct Delivery {
  std::string_view topic;
  std::span<const std::byte> event;  ///< a backplane.v1.Event whose last 47 bytes are the stamp
  wire::Stamp stamp;
  /// An event of the same stream with a higher position was delivered before: this one had been lost on the
  /// way, which showed only later. Within its topic, it is in order.
  bool late = false;
  /// A number that belongs to the listener, which may change it. It is kept for each topic of each stream,
  /// initially 0, and spares the listener a look-up by name. Valid as long as the views. nullptr: none.
  std::uint64_t* mark = nullptr;
  /// With this event, everything of its stream up to here has been delivered, as far as is known: a position
  /// at which reading can resume. Lower than the event's own position while missing events are being
  /// recovered, and after a lost connection until Tails have shown what was missed. None: the event's own
  /// position.
  std::optional<std::uint64_t> resume_at{};
};

/// Events of one topic that will never arrive. The views are valid until the callback returns.
struct Gap {
  std::uint64_t stream{};
  std::string_view topic;
  /// Offsets, both included. `first` is 0 if it is unknown: no event of the topic had arrived since the
  /// subscription became active, and history does not reach back far enough.
  std::uint64_t first{};
  std::uint64_t last{};
  GapReason reason{GapReason::history_gone};
  std::uint64_t position{};  ///< of the last one, or between it and the topic's next event
};

/// A broker restarted without its history: numbering begins again, and events at the end of the old stream
/// may be lost. Their number is unknown.
struct Reset {
  std::uint64_t old_stream{};
  std::uint64_t new_stream{};
};

}  // namespace backplane
