#pragma once
// Compares the scan with protobuf's own parser.

#include <cstddef>
#include <span>
#include <string>

namespace backplane::wire {

/// Scans `event`. If the scan accepts it, parses it as well, with and without a stamp.
/// @returns an empty string if protobuf accepts it and reads the same, otherwise the difference.
[[nodiscard]] std::string disagreement(std::span<const std::byte> event);

}  // namespace backplane::wire
