#pragma once
// A stamped event as a reader gets it.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "core/payload/payload_json.hpp"
#include "core/wire/stamp.hpp"

namespace backplane::gateway {

/// How events are written for a reader.
enum class Format : std::uint8_t {
  text,             ///< `topic payload`
  text_offset,      ///< `topic offset payload`
  json,             ///< one object a line, with all of the envelope
  proto,            ///< backplane.v1.ServerMessage, each behind its length as a varint
  sse,              ///< the object of json as a Server-Sent Event, whose id is the event's resume token
  sse_without_ids,  ///< the same without an id, where what is given is in no order that one could be resumed
                    ///< by
  websocket,        ///< the object of json as a WebSocket text frame
};
inline constexpr std::size_t format_count = 7;
/// One thing for each format, indexed by it.
template <class T>
using ByFormat = std::array<T, format_count>;

/// text, text+offset, json or proto; nothing for any other name: the others come with their protocol.
[[nodiscard]] std::optional<Format> parse_format(std::string_view name) noexcept;
[[nodiscard]] std::string_view name(Format format) noexcept;

/// Writes stamped events as lines or messages. Belongs to one thread; owns the types of payloads that it has
/// been told of, and scratch memory that it reuses.
class Encoder {
 public:
  /// Appends the event to `out`, in the text formats and json with a LF; in sse as `id: <stream>:<position>`
  /// and `data: <the object of json>`, in websocket as one frame (json_record.hpp). A typed payload is its
  /// JSON, text is escaped (text.hpp), bytes are base64, and an event without payload has an empty one (in
  /// json: none of `data`, `text` and `base64`). In json, `time` is null where the publisher gave none or one
  /// outside of the years 1678 to 2261, and `type` is "" where the payload is not a message. In proto it is a
  /// ServerMessage behind its length, with the event's own bytes.
  /// @param topic a valid topic (core/topic)
  /// @param event a backplane.v1.Event, its last 47 bytes the stamp; any bytes may be given
  /// @returns false, `out` being as it was, where `event` is not one that a broker lets through.
  [[nodiscard]] bool encode(Format format, std::string_view topic, std::span<const std::byte> event,
                            const wire::Stamp& stamp, std::string& out);

  /// Payloads' types: which are missing, and where to put what a broker knows of them.
  [[nodiscard]] PayloadJson& payloads() noexcept { return payload_json_; }

 private:
  PayloadJson payload_json_;
};

}  // namespace backplane::gateway
