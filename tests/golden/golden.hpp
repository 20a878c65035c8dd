#pragma once
// Reads the bytes of tests/golden/*.hex, and the cases of tests/golden/*.tsv.

#include <string>
#include <string_view>
#include <vector>

namespace backplane::golden {

/// The bytes of tests/golden/`name`; throws std::runtime_error where the file is missing or not hex.
[[nodiscard]] std::string bytes(std::string_view name);

/// What pairs of hex digits mean; throws std::runtime_error, naming `where`, for what is no hex.
[[nodiscard]] std::string from_hex(std::string_view digits, std::string_view where);

/// The fields of each case in tests/golden/`name`; throws std::runtime_error where the file is missing.
[[nodiscard]] std::vector<std::vector<std::string>> cases(std::string_view name);

}  // namespace backplane::golden
