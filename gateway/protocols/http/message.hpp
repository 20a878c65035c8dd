#pragma once
// Requests and responses of HTTP/1, as values.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace backplane::gateway::http {

/// With ASCII's capitals as small letters: names of fields and hosts, and most words of HTTP, mean the same
/// either way.
[[nodiscard]] std::string lower_case(std::string_view text);

/// A request that is whole and well-formed.
struct Request {
  std::string method;
  std::string path;   ///< with its escapes; "*" for a server as a whole
  std::string query;  ///< without its `?`
  /// What it is addressed to: of the target where that has one, else of the field Host. Empty only in
  /// HTTP/1.0.
  std::string host;
  /// Of its head, names in lower case. Trailers are passed over.
  std::vector<std::pair<std::string, std::string>> fields;
  std::string body;
  bool http_1_0{};
  bool keep_alive{};

  /// The value of the first field of that name, which is in lower case; empty: there is none.
  [[nodiscard]] std::string_view field(std::string_view name) const noexcept;
};

/// Why a request is refused without being looked at, for the counters.
enum class Refusal : std::uint8_t { malformed, too_large, timed_out, host, origin };
inline constexpr std::size_t refusal_count = 5;
[[nodiscard]] std::string_view name(Refusal refusal) noexcept;

struct Fault {
  Refusal refusal{};
  int status{400};
  std::string detail;
};

/// What is answered. Content-Length and Connection are not among its fields: who sends it knows them.
struct Response {
  int status{200};
  std::vector<std::pair<std::string, std::string>> fields;
  std::string body;
};

[[nodiscard]] Response page(std::string_view content_type, std::string body);
[[nodiscard]] Response text_page(int status, std::string line);
/// RFC 9457. `code` is a word for programs, one of the line protocol's where it has one; `detail` is for
/// people.
[[nodiscard]] Response problem(int status, std::string_view code, std::string_view detail);

enum class Framing : std::uint8_t {
  length,  ///< the body's length is said
  chunked,
  until_close,
  none,  ///< 101, 204, 304: there is no body, and nothing is said of one
};

/// Appends the status line and the fields, up to the empty line.
void append_head(const Response& response, Framing framing, bool keep_alive, std::string& out);
/// Appends a piece of a body, at least one byte; the end is an empty chunk.
void append_chunk(std::string_view bytes, std::string& out);
inline constexpr std::string_view last_chunk = "0\r\n\r\n";

}  // namespace backplane::gateway::http
