#pragma once
// What a request's target says.

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace backplane::gateway::http {

/// Undoes `%xx`, and in a query `+` for a space. All else stands as it is: people and curl write `stock.>` as
/// it is, which is not of RFC 3986. @returns nothing where two hexadecimal digits do not follow a `%`.
[[nodiscard]] std::optional<std::string> percent_decode(std::string_view text, bool in_query);

/// A name and a value; `last` alone has an empty value.
using Parameters = std::vector<std::pair<std::string, std::string>>;

/// Reads `topic=stock.%3E&last`. @returns nothing where a part cannot be decoded.
[[nodiscard]] std::optional<Parameters> parse_query(std::string_view query);

}  // namespace backplane::gateway::http
