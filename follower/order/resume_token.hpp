#pragma once
// Where a reading can go on later, as a value and as text.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/error/error.hpp"

namespace backplane {

/// A place in one stream: everything up to and including `position` is behind it.
struct StreamPosition {
  std::uint64_t stream{};
  std::uint64_t position{};
  friend bool operator==(const StreamPosition&, const StreamPosition&) = default;
};

/// `<stream as 16 hex digits>:<position>`, several joined by commas. Nothing: "".
[[nodiscard]] std::string resume_token(const std::vector<StreamPosition>& positions);

/// The way back. @returns invalid_argument for anything but a token of 1 to 64 places, each stream once.
Result<std::vector<StreamPosition>> parse_resume_token(std::string_view text);

}  // namespace backplane
