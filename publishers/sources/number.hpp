#pragma once
// Which fields of a table may become JSON numbers.

#include <string_view>

namespace backplane::sources {

/// Whether every reader gets `text` back from a JSON number: it has the form of one, and a double (which is
/// what a browser makes of it) keeps its value. 4.0, -0.5 and 1.5e-3 do. These do not: 39e1804, which would
/// be infinite; 12345678901234567890, which would lose digits; and 39e18 or 1e5, which are more likely an id
/// than a number (programs that write numbers with an exponent give it a sign, or write a point before it).
[[nodiscard]] bool is_exact_number(std::string_view text);

}  // namespace backplane::sources
