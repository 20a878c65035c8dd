#pragma once
// Why events are lost to a reader.

#include <cstdint>
#include <string_view>

namespace backplane {

/// Why a reader's events are lost. On /metrics and in GAP lines by these names.
enum class GapReason : std::uint8_t {
  history_gone,      ///< the broker no longer holds them
  recovery_timeout,  ///< they were not to be had within the time, or the bytes, that the rest may wait
};

/// The reason as one word: "history_gone", "recovery_timeout".
[[nodiscard]] std::string_view name(GapReason reason) noexcept;

}  // namespace backplane
