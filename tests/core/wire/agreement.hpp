#pragma once
// Holds the scan against protobuf's own parser.

#include <cstddef>
#include <span>
#include <string>

namespace backplane::wire {

/// Scans `event`; where the scan accepts it, parses it too, before and after a stamp is put behind it.
/// @returns an empty string if protobuf accepts it and reads the same, else what differs.
[[nodiscard]] std::string disagreement(std::span<const std::byte> event);

}  // namespace backplane::wire
