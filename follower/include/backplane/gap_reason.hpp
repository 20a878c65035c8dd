#pragma once
// Why a reader lost events.

#include <cstdint>
#include <string_view>

namespace backplane {

/// Why events are lost to a reader. /metrics and GAP lines use these names.
enum class GapReason : std::uint8_t {
  history_gone,      ///< the broker's history no longer holds them
  recovery_timeout,  ///< they could not be recovered within the time limit, or the bytes that may wait for
                     ///< them
  damaged,           ///< the broker's store is damaged where they were
  lost_upstream,     ///< they were lost before they reached the broker
};

/// The reason as one word: "history_gone", "recovery_timeout", "damaged", "lost_upstream".
[[nodiscard]] std::string_view name(GapReason reason) noexcept;

}  // namespace backplane
