#pragma once
// Which protocol a client speaks.

#include <cstdint>
#include <string_view>

namespace backplane::gateway {

enum class Protocol : std::uint8_t { line, http };

/// Tells by the first line, without its end, what speaks there: HTTP if it ends in its version, else the line
/// protocol.
[[nodiscard]] constexpr Protocol protocol_of(std::string_view first_line) noexcept {
  const bool http = first_line.ends_with(" HTTP/1.0") || first_line.ends_with(" HTTP/1.1");
  return http ? Protocol::http : Protocol::line;
}

}  // namespace backplane::gateway
