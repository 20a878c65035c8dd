#pragma once
// Reads the bytes of tests/golden/*.hex.

#include <string>
#include <string_view>

namespace backplane::golden {

/// The bytes of tests/golden/`name`; throws std::runtime_error where the file is missing or not hex.
[[nodiscard]] std::string bytes(std::string_view name);

}  // namespace backplane::golden
