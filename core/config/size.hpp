#pragma once
// Sizes in bytes as people write them.

#include <cstdint>
#include <string>
#include <string_view>

#include "core/error/error.hpp"

namespace backplane::config {

/// Parses `1048576`, `64KiB`, `1MiB`, `2GiB`, `1TiB`; whole numbers only, no white space. `where` begins the
/// error: `--max: expected a size such as 1048576 or 1MiB, got "1 MB"`.
Result<std::uint64_t> parse_size(std::string_view text, std::string_view where);

/// The shortest exact form that parse_size() accepts: 1048576 → "1MiB", 1000 → "1000".
std::string format_size(std::uint64_t bytes);

}  // namespace backplane::config
