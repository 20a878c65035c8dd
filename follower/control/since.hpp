#pragma once
// The `since=` option of subscriptions and replays.

#include <chrono>
#include <optional>
#include <string_view>
#include <variant>

#include "core/error/error.hpp"
#include "follower/control/replay_slice.hpp"

namespace backplane {

/// Where a subscription begins: with live events, a duration ago, after an offset (only if the pattern is one
/// topic), or after the positions of a resume token.
using Since = std::variant<std::monostate, std::chrono::nanoseconds, AfterOffset, AfterPositions>;

inline constexpr std::chrono::hours since_max{24 * 3650};  ///< no history is older

/// Reads a duration (`10m`), an offset (`17`) or a resume token (`00000000000000ab:12,…`).
/// @returns invalid_argument with what was expected and the text, but without the place of the text.
[[nodiscard]] Result<Since> parse_since(std::string_view text);

/// A duration as Since. `text` is shown in the error.
/// @returns invalid_argument unless the duration is above 0 and at most since_max.
[[nodiscard]] Result<Since> since_ago(std::chrono::nanoseconds ago, std::string_view text);

/// What to request from the broker; nothing if no history is needed. A duration is counted back from `now`.
[[nodiscard]] std::optional<ReplayFrom> replay_from(const Since& since,
                                                    std::chrono::steady_clock::time_point now);

}  // namespace backplane
