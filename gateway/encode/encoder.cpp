#include "gateway/encode/encoder.hpp"

#include <array>
#include <limits>

#include <fmt/format.h>

#include "backplane/v1/session.pb.h"
#include "core/payload/text.hpp"
#include "core/time/duration.hpp"
#include "core/wire/scan.hpp"
#include "core/wire/write.hpp"
#include "core/zmtp/frame.hpp"
#include "gateway/encode/json_record.hpp"
#include "gateway/encode/mqtt_message.hpp"

namespace backplane::gateway {
namespace {

constexpr std::array<std::string_view, format_count> format_names = {
    "text",      "text+offset", "json",   "proto",  "sse",        "sse_without_ids",
    "websocket", "zmtp",        "mqtt_3", "mqtt_5", "mqtt_record"};
constexpr std::size_t named_formats = 4;  // the formats that a client can request by name

void append_number(std::uint64_t number, std::string& out) {
  const fmt::format_int digits(number);
  out.append(digits.data(), digits.size());
}

void append_hex(std::uint64_t number, std::string& out) {
  constexpr std::string_view digits = "0123456789abcdef";
  for (int shift = 60; shift >= 0; shift -= 4) out.push_back(digits[number >> shift & 0xf]);
}

/// A resume token: reading continues after these positions.
void append_sse_id(std::span<const StreamPosition> positions, std::string& out) {
  out.append("id: ");
  for (const StreamPosition& each : positions) {
    if (&each != &positions.front()) out.push_back(',');
    append_hex(each.stream, out);
    out.push_back(':');
    append_number(each.position, out);
  }
  out.push_back('\n');
}

void append_json_time(std::int64_t unix_ns, std::string& out) {
  out.push_back('"');
  append_time(unix_ns, out);
  out.push_back('"');
}

/// A ServerMessage with a delivery, after its length. The event's bytes are copied unchanged.
void append_delivery(std::string_view topic, std::span<const std::byte> event, bool late, std::string& out) {
  constexpr std::string_view late_field{"\x18\x01", 2};  // field 3, a varint, true
  static_assert(v1::ServerMessage_Delivery::kLateFieldNumber == 3);
  const std::string_view bytes{reinterpret_cast<const char*>(event.data()), event.size()};
  const std::size_t delivery = wire::delimited_bytes(topic.size()) + wire::delimited_bytes(bytes.size()) +
                               (late ? late_field.size() : 0);
  wire::append_varint(wire::delimited_bytes(delivery), out);
  wire::append_delimited_head(v1::ServerMessage::kDeliveryFieldNumber, delivery, out);
  wire::append_delimited(v1::ServerMessage_Delivery::kTopicFieldNumber, topic, out);
  wire::append_delimited(v1::ServerMessage_Delivery::kEventFieldNumber, bytes, out);
  if (late) out.append(late_field);
}

/// The publisher's time in Unix nanoseconds, if there is one that fits in 64 bits.
std::optional<std::int64_t> time_ns(const wire::EventView& event) {
  constexpr std::int64_t second = 1'000'000'000;
  constexpr std::int64_t seconds_max = std::numeric_limits<std::int64_t>::max() / second - 1;
  if (!event.has_time || event.time_nanos < 0 || event.time_nanos >= second) return std::nullopt;
  if (event.time_seconds > seconds_max || event.time_seconds < -seconds_max) return std::nullopt;
  return event.time_seconds * second + event.time_nanos;
}

/// By hand: protobuf's printer costs twelve times as much.
void append_envelope(std::string_view topic, const wire::EventView& event, const wire::Stamp& stamp,
                     bool late, std::string& out) {
  out.append("{\"topic\":");
  append_json_string(topic, out);
  out.append(",\"stream\":\"");
  append_hex(stamp.stream, out);
  out.append("\",\"position\":");
  append_number(stamp.position, out);
  out.append(",\"offset\":");
  append_number(stamp.offset, out);
  out.append(",\"time\":");
  if (const auto time = time_ns(event)) {
    append_json_time(*time, out);
  } else {
    out.append("null");
  }
  out.append(",\"received\":");
  append_json_time(stamp.received_ns, out);
  out.append(",\"source\":");
  append_json_string(event.source, out);
  out.append(",\"sequence\":");
  append_number(event.sequence, out);
  out.append(",\"type\":");
  append_json_string(type_name(event.type_url), out);
  if (late) out.append(",\"late\":true");
}

}  // namespace

std::optional<Format> parse_format(std::string_view name) noexcept {
  for (std::size_t i = 0; i < named_formats; ++i) {
    if (format_names[i] == name) return static_cast<Format>(i);
  }
  return std::nullopt;
}

std::string_view name(Format format) noexcept {
  return format_names[static_cast<std::size_t>(format)];
}

bool Encoder::encode(Format format, std::string_view topic, std::span<const std::byte> event,
                     const wire::Stamp& stamp, std::string& out, const EventContext& context) {
  if (event.size() < wire::stamp_bytes) return false;
  const wire::ScanResult scan = wire::scan_event(wire::without_stamp(event));
  if (scan.fault != wire::EventFault::none) return false;
  if (format == Format::proto) {
    append_delivery(topic, event, context.late, out);
    return true;
  }
  if (format == Format::zmtp) {
    zmtp::append_frame(zmtp::flag::more, topic, out);
    zmtp::append_frame(0, {reinterpret_cast<const char*>(event.data()), event.size()}, out);
    return true;
  }
  const wire::EventView& view = scan.event;
  if (is_mqtt(format)) {
    append_mqtt(format, topic, event, view, stamp, context, out);
    return true;
  }

  const bool json = is_json(format);
  if (format == Format::sse) {
    const StreamPosition own{stamp.stream, stamp.position};
    append_sse_id(context.resume_at == nullptr ? std::span(&own, 1) : std::span(*context.resume_at), out);
  }
  const std::size_t begin = json ? begin_json_record(format, out) : 0;
  if (json) {
    append_envelope(topic, view, stamp, context.late, out);
  } else {
    out.append(topic).push_back(' ');
    if (format == Format::text_offset) {
      append_number(stamp.offset, out);
      out.push_back(' ');
    }
  }
  switch (view.payload) {
    case wire::Payload::none:
      break;
    case wire::Payload::message:
      if (json) out.append(",\"data\":");
      payload_json_.append(view.type_url, view.message, out);
      break;
    case wire::Payload::text:
      if (json) {
        out.append(",\"text\":");
        append_json_string(view.body, out);
      } else {
        append_escaped(view.body, out);
      }
      break;
    case wire::Payload::binary:
      if (json) out.append(",\"base64\":\"");
      append_base64(view.body, out);
      if (json) out.push_back('"');
      break;
  }
  out.append(json ? "}\n" : "\n");
  if (json) end_json_record(format, begin, out);
  return true;
}

void Encoder::append_mqtt(Format format, std::string_view topic, std::span<const std::byte> event,
                          const wire::EventView& view, const wire::Stamp& stamp, const EventContext& context,
                          std::string& out) {
  constexpr std::int64_t second = 1'000'000'000;
  mqtt_topic_.clear();
  if (!mqtt::append_topic_name(topic, mqtt_topic_)) return;
  attributes_.clear();
  wire::read_attributes(wire::without_stamp(event), attributes_);
  mqtt::Mark mark;
  bool by_mqtt = false;
  for (const auto& [key, value] : attributes_) {
    if (key != mqtt::mark_attribute) continue;
    mark = mqtt::parse_mark(value);
    by_mqtt = true;
  }
  const bool retained = context.retained_at_ns.has_value();
  if (retained && !mark.retain) return;
  std::optional<std::uint32_t> expiry_s;
  if (mark.expires_s && format != Format::mqtt_record) {
    const std::int64_t left = *mark.expires_s - context.retained_at_ns.value_or(stamp.received_ns) / second;
    if (left <= 0) return;
    expiry_s =
        static_cast<std::uint32_t>(std::min<std::int64_t>(left, std::numeric_limits<std::uint32_t>::max()));
  }
  std::string_view payload = view.body;
  std::string_view content_type;
  // Whether the payload is UTF-8: as its publisher said, if that was a client of MQTT.
  bool text = by_mqtt ? mark.utf8 : view.payload == wire::Payload::text;
  if (mqtt_payload_ == MqttPayload::event) {
    payload = {reinterpret_cast<const char*>(event.data()), event.size()};
    content_type = "application/x-protobuf; messageType=\"backplane.v1.Event\"";
    text = false;
  } else if (view.payload == wire::Payload::message && mqtt_payload_ == MqttPayload::payload) {
    payload = view.message;
    content_type = "application/x-protobuf";
  } else if (view.payload == wire::Payload::message) {
    mqtt_json_.clear();
    payload_json_.append(view.type_url, view.message, mqtt_json_);
    payload = mqtt_json_;
    content_type = "application/json";
    text = true;
  }
  mqtt_properties_.clear();
  if (format != Format::mqtt_3) {
    mqtt::append_message_properties(attributes_, text, content_type, expiry_s, mqtt_properties_);
  }
  const mqtt::Message message{mqtt_topic_,    mark.qos,    mark.retain,      retained,
                              mark.expires_s, mark.origin, mqtt_properties_, payload};
  if (format == Format::mqtt_record) {
    mqtt::append_record(message, out);
  } else {
    mqtt::append_publish(message, /*v5=*/format == Format::mqtt_5, out);
  }
}

}  // namespace backplane::gateway
