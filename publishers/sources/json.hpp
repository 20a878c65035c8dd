#pragma once
// JSON from outside, and pieces of it for outside.

#include <string>
#include <string_view>

#include "core/error/error.hpp"
#include "publishers/sources/record.hpp"

namespace backplane::sources {

/// The members of a JSON object in their order. Any bytes may be given; nesting is limited to 32 levels.
/// The error's text is only what is wrong: the caller knows where.
[[nodiscard]] Result<Record> parse_json_object(std::string_view text);

/// A record as a JSON object. Its texts must be UTF-8.
[[nodiscard]] std::string to_json(const Record& record);

/// UTF-8 as a JSON string, with its quotes.
[[nodiscard]] std::string json_string(std::string_view text);

/// Whether it is a number as JSON has them: 12, -0.5, 1e9; no leading zeros, no plus, no white space.
[[nodiscard]] bool is_json_number(std::string_view text) noexcept;

}  // namespace backplane::sources
