#pragma once
// A JSON object in the form of each protocol that sends it.

#include <cstddef>
#include <string>

#include "gateway/encode/encoder.hpp"

namespace backplane::gateway {

/// Whether the format is Server-Sent Events.
[[nodiscard]] constexpr bool is_sse(Format format) noexcept {
  return format == Format::sse || format == Format::sse_without_ids;
}

/// Whether everything in `format` is a JSON object. FORMAT json has one per line.
[[nodiscard]] constexpr bool is_json(Format format) noexcept {
  return format == Format::json || format == Format::websocket || is_sse(format);
}

/// Called before an object is appended to `out`. @returns the `begin` for end_json_record().
[[nodiscard]] std::size_t begin_json_record(Format format, std::string& out);

/// Called after an object and a LF have been appended. In json, does nothing. In sse, the line becomes the
/// `data:` of a Server-Sent Event, which ends here; fields such as `event: gap` are appended before
/// begin_json_record(). In websocket, the line becomes one unmasked text frame without the LF.
void end_json_record(Format format, std::size_t begin, std::string& out);

}  // namespace backplane::gateway
