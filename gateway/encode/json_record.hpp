#pragma once
// A line of json in the form of each protocol that sends it.

#include <cstddef>
#include <string>

#include "gateway/encode/encoder.hpp"

namespace backplane::gateway {

/// Whether it is a Server-Sent Event.
[[nodiscard]] constexpr bool is_sse(Format format) noexcept {
  return format == Format::sse || format == Format::sse_without_ids;
}

/// Whether what is said in `format` is a JSON object, of which FORMAT json has one a line.
[[nodiscard]] constexpr bool is_json(Format format) noexcept {
  return format == Format::json || format == Format::websocket || is_sse(format);
}

/// Before such an object is appended to `out`. @returns what end_json_record() wants to know.
[[nodiscard]] std::size_t begin_json_record(Format format, std::string& out);

/// Behind the object and a LF. In json nothing happens; in sse the line becomes the `data:` of a Server-Sent
/// Event, which ends here (fields such as `event: gap` are appended before the beginning); in websocket it
/// becomes one unmasked text frame without the LF.
void end_json_record(Format format, std::size_t begin, std::string& out);

}  // namespace backplane::gateway
