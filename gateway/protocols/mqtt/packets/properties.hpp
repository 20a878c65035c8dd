#pragma once
// Properties of MQTT 5.0 packets.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gateway/protocols/mqtt/packets/field_reader.hpp"

namespace backplane::gateway::mqtt {

/// The packet types of chapter 2.1.2.
enum class PacketType : std::uint8_t {
  connect = 1,
  connack = 2,
  publish = 3,
  puback = 4,
  pubrec = 5,
  pubrel = 6,
  pubcomp = 7,
  subscribe = 8,
  suback = 9,
  unsubscribe = 10,
  unsuback = 11,
  pingreq = 12,
  pingresp = 13,
  disconnect = 14,
  auth = 15,
};

/// Which packets may have a property: those with their own properties, and the will.
enum class PropertyOwner : std::uint8_t {
  connect = 1,
  connack = 2,
  publish = 3,
  puback = 4,
  pubrec = 5,
  pubrel = 6,
  pubcomp = 7,
  subscribe = 8,
  suback = 9,
  unsubscribe = 10,
  unsuback = 11,
  disconnect = 14,
  auth = 15,
  will = 16,
};

/// The properties of one packet: see chapter 2.2.2.2. Those without a value were absent. The views point into
/// the packet, or into what the writer of the packet keeps.
struct Properties {
  std::optional<std::uint8_t> payload_format;
  std::optional<std::uint32_t> message_expiry;  ///< in s
  std::optional<std::string_view> content_type;
  std::optional<std::string_view> response_topic;
  std::optional<std::string_view> correlation_data;
  std::vector<std::uint32_t> subscription_ids;
  std::optional<std::uint32_t> session_expiry;  ///< in s
  std::optional<std::string_view> assigned_client_id;
  std::optional<std::uint16_t> server_keep_alive;  ///< in s
  std::optional<std::string_view> authentication_method;
  std::optional<std::string_view> authentication_data;
  std::optional<std::uint8_t> request_problem_information;
  std::optional<std::uint32_t> will_delay;  ///< in s
  std::optional<std::uint8_t> request_response_information;
  std::optional<std::string_view> response_information;
  std::optional<std::string_view> server_reference;
  std::optional<std::string_view> reason_string;
  std::optional<std::uint16_t> receive_maximum;
  std::optional<std::uint16_t> topic_alias_maximum;
  std::optional<std::uint16_t> topic_alias;
  std::optional<std::uint8_t> maximum_qos;
  std::optional<std::uint8_t> retain_available;
  std::vector<std::pair<std::string_view, std::string_view>> user_properties;  ///< in their order
  std::optional<std::uint32_t> maximum_packet_size;
  std::optional<std::uint8_t> wildcard_subscriptions_available;
  std::optional<std::uint8_t> subscription_ids_available;
  std::optional<std::uint8_t> shared_subscriptions_available;

  bool operator==(const Properties&) const = default;
};

/// Reads the length of properties, and as many. Faults are in `fields`.
[[nodiscard]] Properties read_properties(PropertyOwner owner, FieldReader& fields);

/// Appends the properties after their length, in the order of their identifiers; user properties are last.
void append_properties(const Properties& properties, std::string& out);

}  // namespace backplane::gateway::mqtt
