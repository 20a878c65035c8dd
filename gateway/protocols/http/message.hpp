#pragma once
// Requests and responses of HTTP/1.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace backplane::gateway::http {

/// ASCII letters in lower case: names of fields and hosts, and most words of HTTP, are case-insensitive.
[[nodiscard]] std::string lower_case(std::string_view text);

/// Whether a list such as `keep-alive, Upgrade` contains `token` (in lower case).
[[nodiscard]] bool list_contains(std::string_view list, std::string_view token);

/// A complete, well-formed request.
struct Request {
  std::string method;
  std::string path;   ///< escapes are not decoded; "*" means the server as a whole
  std::string query;  ///< without the `?`
  /// The host that it is addressed to: from the target if that has one, else from the field Host. Empty only
  /// in HTTP/1.0.
  std::string host;
  /// Fields of the head, each name once and in lower case. Several lines of a list are one list (RFC 9110,
  /// 5.3). Trailers are ignored.
  std::vector<std::pair<std::string, std::string>> fields;
  std::string body;
  bool http_1_0{};
  bool keep_alive{};
  bool encrypted{};  ///< it came by TLS

  /// The value of the field of that name (in lower case); empty if there is none.
  [[nodiscard]] std::string_view field(std::string_view name) const noexcept;
};

/// The parameter of a query that contains the client's token, for clients that cannot set header fields.
inline constexpr std::string_view token_parameter = "access_token";

/// Why a request is refused before it is handled, for the counters.
enum class Refusal : std::uint8_t { malformed, too_large, timed_out, host, origin };
inline constexpr std::size_t refusal_count = 5;
[[nodiscard]] std::string_view name(Refusal refusal) noexcept;

struct Fault {
  Refusal refusal{};
  int status{400};
  std::string detail;
};

/// A response. Its fields do not include Content-Length and Connection, which append_head() writes.
struct Response {
  int status{200};
  std::vector<std::pair<std::string, std::string>> fields;
  std::string body;
};

[[nodiscard]] Response page(std::string_view content_type, std::string body);
[[nodiscard]] Response text_page(int status, std::string line);
/// A problem document (RFC 9457). `code` is for programs: the line protocol's code if it has one. `detail` is
/// for people.
[[nodiscard]] Response problem(int status, std::string_view code, std::string_view detail);

/// The same for a request that the client's user may not make, or whose credentials were refused: 401 with
/// WWW-Authenticate if `code` is not_authenticated, else 403.
[[nodiscard]] Response access_problem(std::string_view code, std::string_view detail);

enum class Framing : std::uint8_t {
  length,  ///< Content-Length
  chunked,
  until_close,
  none,  ///< 101, 204, 304: no body and no field about it
};

/// Appends the status line, the fields and the empty line.
void append_head(const Response& response, Framing framing, bool keep_alive, std::string& out);
/// Appends a chunk of a body. It has at least one byte: an empty chunk ends the body.
void append_chunk(std::string_view bytes, std::string& out);
inline constexpr std::string_view last_chunk = "0\r\n\r\n";

}  // namespace backplane::gateway::http
