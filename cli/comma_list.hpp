#pragma once
// Values of flags and variables that are lists.

#include <string>
#include <string_view>
#include <vector>

namespace backplane::cli {

/// "a,b" is a and b. A comma at an end, two commas in a row, and an empty list give an empty part: the caller
/// checks the parts.
[[nodiscard]] inline std::vector<std::string> split_at_commas(std::string_view list) {
  std::vector<std::string> parts;
  for (;;) {
    const std::size_t comma = list.find(',');
    parts.emplace_back(list.substr(0, comma));
    if (comma == std::string_view::npos) return parts;
    list.remove_prefix(comma + 1);
  }
}

}  // namespace backplane::cli
