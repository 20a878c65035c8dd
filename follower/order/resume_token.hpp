#pragma once
// Where reading can continue later, as a value and as text.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/error/error.hpp"

namespace backplane {

/// A position in one stream. Everything up to and including it has been read.
struct StreamPosition {
  std::uint64_t stream{};
  std::uint64_t position{};
  friend bool operator==(const StreamPosition&, const StreamPosition&) = default;
};

/// One position for each of several streams.
using StreamPositions = std::vector<StreamPosition>;

/// The position in `stream`, or none.
[[nodiscard]] inline std::optional<std::uint64_t> position_in(std::span<const StreamPosition> positions,
                                                              std::uint64_t stream) noexcept {
  for (const StreamPosition& each : positions) {
    if (each.stream == stream) return each.position;
  }
  return std::nullopt;
}

/// Returns `<stream as 16 hex digits>:<position>`, several joined by commas. Without positions: "".
[[nodiscard]] std::string resume_token(const std::vector<StreamPosition>& positions);

/// Reads a token. @returns invalid_argument unless it has 1 to 64 positions, each of another stream.
Result<std::vector<StreamPosition>> parse_resume_token(std::string_view text);

}  // namespace backplane
