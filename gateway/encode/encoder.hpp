#pragma once
// Stamped events in the formats that clients read.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/payload/payload_json.hpp"
#include "core/wire/scan.hpp"
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
  mqtt_3,           ///< a PUBLISH of MQTT 3.1.1 at QoS 0
  mqtt_5,           ///< a PUBLISH of MQTT 5.0 at QoS 0
  mqtt_record,      ///< from which the session makes a PUBLISH of its own (mqtt_message.hpp)
};
inline constexpr std::size_t format_count = 11;
/// One value per format, indexed by the format.
template <class T>
using ByFormat = std::array<T, format_count>;

/// text, text+offset, json or proto; nothing for any other name: the other formats belong to their protocol.
[[nodiscard]] std::optional<Format> parse_format(std::string_view name) noexcept;
[[nodiscard]] std::string_view name(Format format) noexcept;

/// Whether the format is one of MQTT's.
[[nodiscard]] constexpr bool is_mqtt(Format format) noexcept {
  return format == Format::mqtt_3 || format == Format::mqtt_5 || format == Format::mqtt_record;
}

/// What is written about an event besides the event itself.
struct EventContext {
  bool late{};  ///< Delivery::late: written in json and proto
  /// In sse, the positions that the event's id names, one for each stream. nullptr: the event's own.
  const StreamPositions* resume_at{};
  /// In the formats of MQTT: it is sent as the topic's retained message, as of this Unix time. Not set: it is
  /// a live event.
  std::optional<std::int64_t> retained_at_ns{};
};

/// What a device that speaks MQTT receives as the payload of an event.
enum class MqttPayload : std::uint8_t {
  json,     ///< text and bytes as they are; a typed payload as JSON
  payload,  ///< text and bytes as they are; a typed payload as its own bytes
  event,    ///< the backplane.v1.Event
};

/// Writes stamped events as lines or messages. Belongs to one thread. Owns the payload types that were added
/// to payloads(), and scratch memory.
class Encoder {
 public:
  /// Appends the event to `out`: in the text formats and json as one line with its LF, in sse as
  /// `id: <resume token>` and `data: <json object>`, in websocket as one frame (json_record.hpp), in
  /// proto as a ServerMessage after its length, which contains the event's own bytes, in zmtp as the broker
  /// sends it. In the formats of MQTT, an event that MQTT cannot deliver (because of its topic, or because it
  /// has expired) appends nothing. A typed payload is written as JSON, text is escaped (text.hpp), bytes are
  /// base64. An event without payload has an empty one (in json: none of `data`, `text` and `base64`). In
  /// json, `time` is null if the publisher set none, or one outside of the years 1678 to 2261; `type` is ""
  /// if the payload is not a message.
  /// @param topic a valid topic (core/topic)
  /// @param event a backplane.v1.Event whose last 47 bytes are the stamp; any bytes are safe
  /// @returns false if a broker would not have admitted `event`; then `out` is unchanged.
  [[nodiscard]] bool encode(Format format, std::string_view topic, std::span<const std::byte> event,
                            const wire::Stamp& stamp, std::string& out, const EventContext& context = {});

  /// The payload types: which ones are missing, and where to add those that a broker knows.
  [[nodiscard]] PayloadJson& payloads() noexcept { return payload_json_; }
  void set_mqtt_payload(MqttPayload payload) noexcept { mqtt_payload_ = payload; }

 private:
  void append_mqtt(Format format, std::string_view topic, std::span<const std::byte> event,
                   const wire::EventView& view, const wire::Stamp& stamp, const EventContext& context,
                   std::string& out);

  PayloadJson payload_json_;
  MqttPayload mqtt_payload_{MqttPayload::json};
  // Scratch memory of append_mqtt().
  std::vector<std::pair<std::string_view, std::string_view>> attributes_;
  std::string mqtt_topic_;
  std::string mqtt_properties_;
  std::string mqtt_json_;
};

}  // namespace backplane::gateway
