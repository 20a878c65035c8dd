#pragma once
// Events as MQTT messages.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace backplane::gateway::mqtt {

// ---- attributes of an event that carry what MQTT has and an event has not ----

/// What a gateway notes about an event that was published by MQTT: see Mark.
inline constexpr std::string_view mark_attribute = "mqtt";
inline constexpr std::string_view content_type_attribute = "content_type";
/// A Backplane topic.
inline constexpr std::string_view response_topic_attribute = "response_topic";
/// In base64.
inline constexpr std::string_view correlation_data_attribute = "correlation_data";
/// Before the name of a user property that would be one of the attributes above, or would have no name.
inline constexpr std::string_view user_prefix = "mqtt.";

/// The name of the attribute that carries a user property.
[[nodiscard]] std::string attribute_of_user_property(std::string_view name);

/// How an event was published by MQTT. The initialisers are those of an event that was published otherwise:
/// the last one of each topic is retained, and nothing limits the QoS of its delivery.
struct Mark {
  std::uint8_t qos{2};
  bool retain{true};
  bool utf8{};                            ///< the publisher has said that the payload is UTF-8
  std::optional<std::int64_t> expires_s;  ///< Unix time
  std::string_view origin;                ///< identifies the publisher, for No Local; empty: unknown
  bool operator==(const Mark&) const = default;
};
/// `qos=1 retain utf8 expires=1700000000 origin=a1b2`; what follows the QoS only if needed.
[[nodiscard]] std::string mark_text(const Mark& mark);
/// Accepts any text.
[[nodiscard]] Mark parse_mark(std::string_view text);

// ---- topics ----

/// Appends a topic as MQTT names it. @returns false if MQTT cannot: it contains `/`, `+` or `#`.
[[nodiscard]] bool append_topic_name(std::string_view topic, std::string& out);

// ---- messages ----

/// An event as MQTT delivers it. The views point into what it was made from.
struct Message {
  std::string_view topic;                   ///< as MQTT names it
  std::uint8_t qos{};                       ///< of its publication
  bool retain{};                            ///< it was published as a retained message
  bool retained{};                          ///< it is sent because it is retained
  std::optional<std::int64_t> expires_s{};  ///< Unix time; in records, `properties` are without the expiry
  std::string_view origin;
  std::string_view properties;  ///< of 5.0, without their length
  std::string_view payload;
  bool operator==(const Message&) const = default;
};

/// Appends a PUBLISH at QoS 0. @param v5 with the properties
void append_publish(const Message& message, bool v5, std::string& out);

// Format mqtt_record: for sessions that make the PUBLISH themselves. A record is a message or a notice.

void append_record(const Message& message, std::string& out);
/// Appends a notice. @param json one line, with its LF
void append_notice_record(std::string_view json, std::string& out);

struct Record {
  bool is_notice{};
  Message message;          ///< unless it is a notice
  std::string_view notice;  ///< a JSON object and a LF
};
/// Removes one record from the beginning of `records`, which consists of whole ones.
[[nodiscard]] Record take_record(std::string_view& records);

/// The user properties and others of an event's attributes, in their order, as MQTT writes them. What MQTT
/// cannot write is left out.
/// @param text whether the payload is UTF-8
/// @param expiry_s remaining lifetime in s
using Attributes = std::vector<std::pair<std::string_view, std::string_view>>;
void append_message_properties(const Attributes& attributes, bool text, std::string_view default_content_type,
                               std::optional<std::uint32_t> expiry_s, std::string& out);

}  // namespace backplane::gateway::mqtt
