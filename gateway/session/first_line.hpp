#pragma once
// Which protocol a client speaks.

#include <algorithm>
#include <array>
#include <cstdint>
#include <string_view>

namespace backplane::gateway {

enum class Protocol : std::uint8_t { line, http };

/// Tells by the first line, without its end, what speaks there: HTTP if it ends in a version of it, else the
/// line protocol.
[[nodiscard]] constexpr Protocol protocol_of(std::string_view first_line) noexcept {
  constexpr std::string_view version = " HTTP/1.1";
  if (first_line.size() < version.size()) return Protocol::line;
  const std::string_view end = first_line.substr(first_line.size() - version.size());
  const auto digit = [&](std::size_t at) { return end[at] >= '0' && end[at] <= '9'; };
  return end.starts_with(" HTTP/") && digit(6) && end[7] == '.' && digit(8) ? Protocol::http : Protocol::line;
}

/// Whether a first line of which the end is not there, as it is too long or too slow, is an HTTP request's:
/// what a browser can be made to send must never be taken for commands.
[[nodiscard]] constexpr bool begins_as_http(std::string_view beginning) noexcept {
  constexpr std::array<std::string_view, 9> methods = {"GET ",     "HEAD ",  "POST ",  "PUT ",    "DELETE ",
                                                       "OPTIONS ", "PATCH ", "TRACE ", "CONNECT "};
  return std::any_of(methods.begin(), methods.end(),
                     [&](std::string_view method) { return beginning.starts_with(method); });
}

}  // namespace backplane::gateway
