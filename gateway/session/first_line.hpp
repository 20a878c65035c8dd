#pragma once
// Which protocol a client uses, by its first line.

#include <algorithm>
#include <array>
#include <cstdint>
#include <string_view>

namespace backplane::gateway {

enum class Protocol : std::uint8_t { line, http };

/// The protocol of a client whose first line (without its line end) is given: HTTP if the line ends in an
/// HTTP version, else the line protocol.
[[nodiscard]] constexpr Protocol protocol_of(std::string_view first_line) noexcept {
  constexpr std::string_view version = " HTTP/1.1";
  if (first_line.size() < version.size()) return Protocol::line;
  const std::string_view end = first_line.substr(first_line.size() - version.size());
  const auto digit = [&](std::size_t at) { return end[at] >= '0' && end[at] <= '9'; };
  return end.starts_with(" HTTP/") && digit(6) && end[7] == '.' && digit(8) ? Protocol::http : Protocol::line;
}

/// Whether an incomplete first line, which is too long or too slow, belongs to an HTTP request. What a
/// browser can be made to send must never be taken for commands.
[[nodiscard]] constexpr bool begins_as_http(std::string_view beginning) noexcept {
  constexpr std::array<std::string_view, 9> methods = {"GET ",     "HEAD ",  "POST ",  "PUT ",    "DELETE ",
                                                       "OPTIONS ", "PATCH ", "TRACE ", "CONNECT "};
  return std::any_of(methods.begin(), methods.end(),
                     [&](std::string_view method) { return beginning.starts_with(method); });
}

/// Whether the first bytes are a command of telnet (IAC and a code above it). No other protocol begins so.
[[nodiscard]] constexpr bool begins_as_telnet(std::string_view beginning) noexcept {
  return beginning.size() >= 2 && beginning[0] == '\xff' && static_cast<unsigned char>(beginning[1]) >= 236;
}

/// Whether the first bytes are the greeting of a ZeroMQ peer. (Their second byte is 0 in libzmq, and the
/// first byte of a length in others.)
[[nodiscard]] constexpr bool begins_as_zmtp(std::string_view beginning) noexcept {
  return beginning.size() >= 2 && beginning[0] == '\xff' && static_cast<unsigned char>(beginning[1]) < 236;
}

/// Whether the first bytes are a record of TLS with a client's first message.
[[nodiscard]] constexpr bool begins_as_tls(std::string_view beginning) noexcept {
  return beginning.starts_with("\x16\x03");
}

}  // namespace backplane::gateway
