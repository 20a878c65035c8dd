#pragma once
// The packets of MQTT 3.1.1 and 5.0.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "gateway/protocols/mqtt/packets/properties.hpp"

namespace backplane::gateway::mqtt {

// Views point into the bytes that a packet was parsed from, or into what its writer keeps. In 3.1.1, packets
// have no properties, and those without a reason code have `success`.

struct Will {
  std::string_view topic;
  std::string_view payload;
  std::uint8_t qos{};
  bool retain{};
  Properties properties;
  bool operator==(const Will&) const = default;
};

struct Connect {
  Version version{Version::v5_0};
  bool clean_start{};
  std::uint16_t keep_alive{};  ///< in s; 0: none
  std::string_view client_id;
  std::optional<Will> will;
  std::optional<std::string_view> user_name;
  std::optional<std::string_view> password;
  Properties properties;
  bool operator==(const Connect&) const = default;
};

struct Connack {
  bool session_present{};
  ReasonCode reason{};  ///< written in 3.1.1 as return_code()
  Properties properties;
  bool operator==(const Connack&) const = default;
};

struct Publish {
  bool duplicate{};
  std::uint8_t qos{};
  bool retain{};
  std::string_view topic;     ///< in 5.0, empty if there is a topic alias only
  std::uint16_t packet_id{};  ///< if QoS is above 0
  Properties properties;
  std::string_view payload;
  bool operator==(const Publish&) const = default;
};

/// PUBACK, PUBREC, PUBREL or PUBCOMP.
struct PublishReply {
  PacketType type{PacketType::puback};
  std::uint16_t packet_id{};
  ReasonCode reason{};
  Properties properties;
  bool operator==(const PublishReply&) const = default;
};

struct TopicRequest {
  enum class RetainHandling : std::uint8_t { send, send_if_new, do_not_send };
  std::string_view filter;
  std::uint8_t qos{};
  // Of 5.0.
  bool no_local{};
  bool retain_as_published{};
  RetainHandling retain_handling{};
  bool operator==(const TopicRequest&) const = default;
};

struct Subscribe {
  std::uint16_t packet_id{};
  Properties properties;
  std::vector<TopicRequest> topics;  ///< at least one
  bool operator==(const Subscribe&) const = default;
};

/// SUBACK or UNSUBACK.
struct SubscribeReply {
  PacketType type{PacketType::suback};
  std::uint16_t packet_id{};
  Properties properties;
  std::vector<ReasonCode> reasons;  ///< none in an UNSUBACK of 3.1.1
  bool operator==(const SubscribeReply&) const = default;
};

struct Unsubscribe {
  std::uint16_t packet_id{};
  Properties properties;
  std::vector<std::string_view> filters;  ///< at least one
  bool operator==(const Unsubscribe&) const = default;
};

/// PINGREQ or PINGRESP.
struct Ping {
  PacketType type{PacketType::pingreq};
  bool operator==(const Ping&) const = default;
};

struct Disconnect {
  ReasonCode reason{};
  Properties properties;
  bool operator==(const Disconnect&) const = default;
};

struct Auth {
  ReasonCode reason{};
  Properties properties;
  bool operator==(const Auth&) const = default;
};

using Packet = std::variant<Connect, Connack, Publish, PublishReply, Subscribe, SubscribeReply, Unsubscribe,
                            Ping, Disconnect, Auth>;

/// Appends the packet in its shortest form. What is too long for MQTT must not be in it: strings have at most
/// string_bytes_max bytes, the packet at most remaining_length_max.
void append_packet(Version version, const Packet& packet, std::string& out);

}  // namespace backplane::gateway::mqtt
