#pragma once
// What somebody who mistyped a name probably meant.

#include <string_view>
#include <vector>

namespace backplane {

/// The one of `names` that `name` may be a typo of: at most a third of its letters (at least one) are wrong,
/// missing, added or swapped with their neighbour. Of equally close ones, the first. Empty: none is close.
[[nodiscard]] std::string_view closest_name(std::string_view name,
                                            const std::vector<std::string_view>& names);

}  // namespace backplane
