#pragma once
// Stamped events in the formats that clients read.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "core/payload/payload_json.hpp"
#include "core/wire/stamp.hpp"
#include "follower/order/resume_token.hpp"

namespace backplane::gateway {

/// How events are written for a client.
enum class Format : std::uint8_t {
  text,             ///< `topic payload`
  text_offset,      ///< `topic offset payload`
  json,             ///< one object per line, with the whole envelope
  proto,            ///< backplane.v1.ServerMessage, each preceded by its length as a varint
  sse,              ///< the json object as a Server-Sent Event, whose id is the event's resume token
  sse_without_ids,  ///< the same without an id, while events are in an order that cannot be resumed
  websocket,        ///< the json object as a WebSocket text frame
  zmtp,             ///< a ZeroMQ message of two frames, the topic and the event, in any version of ZMTP
};
inline constexpr std::size_t format_count = 8;
/// One value per format, indexed by the format.
template <class T>
using ByFormat = std::array<T, format_count>;

/// text, text+offset, json or proto; nothing for any other name: the other formats belong to their protocol.
[[nodiscard]] std::optional<Format> parse_format(std::string_view name) noexcept;
[[nodiscard]] std::string_view name(Format format) noexcept;

/// What is written about an event besides the event itself.
struct EventContext {
  bool late{};  ///< Delivery::late: written in json and proto
  /// In sse, the positions that the event's id names, one for each stream. nullptr: the event's own.
  const StreamPositions* resume_at{};
};

/// Writes stamped events as lines or messages. Belongs to one thread. Owns the payload types that were added
/// to payloads(), and scratch memory.
class Encoder {
 public:
  /// Appends the event to `out`: in the text formats and json as one line with its LF, in sse as
  /// `id: <resume token>` and `data: <json object>`, in websocket as one frame (json_record.hpp), in
  /// proto as a ServerMessage after its length, which contains the event's own bytes, in zmtp as the broker
  /// sends it. A typed payload is written as JSON, text is escaped (text.hpp), bytes are base64. An event
  /// without payload has an empty one (in json: none of `data`, `text` and `base64`). In json, `time` is null
  /// if the publisher set none, or one outside of the years 1678 to 2261; `type` is "" if the payload is not
  /// a message.
  /// @param topic a valid topic (core/topic)
  /// @param event a backplane.v1.Event whose last 47 bytes are the stamp; any bytes are safe
  /// @returns false if a broker would not have admitted `event`; then `out` is unchanged.
  [[nodiscard]] bool encode(Format format, std::string_view topic, std::span<const std::byte> event,
                            const wire::Stamp& stamp, std::string& out, const EventContext& context = {});

  /// The payload types: which ones are missing, and where to add those that a broker knows.
  [[nodiscard]] PayloadJson& payloads() noexcept { return payload_json_; }

 private:
  PayloadJson payload_json_;
};

}  // namespace backplane::gateway
