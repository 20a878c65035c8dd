#pragma once
// Percent-decoding and queries.

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace backplane::gateway::http {

/// Decodes `%xx`, and in a query `+` as a space. All other bytes stay: people and curl write `stock.>`
/// unescaped, which RFC 3986 does not allow. @returns nothing if a `%` is not followed by two hexadecimal
/// digits.
[[nodiscard]] std::optional<std::string> percent_decode(std::string_view text, bool in_query);

/// Names and values. A name without `=`, such as `last`, has an empty value.
using Parameters = std::vector<std::pair<std::string, std::string>>;

/// Parses `topic=stock.%3E&last`. @returns nothing if a part cannot be decoded.
[[nodiscard]] std::optional<Parameters> parse_query(std::string_view query);

}  // namespace backplane::gateway::http
