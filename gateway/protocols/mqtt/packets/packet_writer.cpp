#include "core/error/error.hpp"
#include "gateway/encode/mqtt_fields.hpp"
#include "gateway/protocols/mqtt/packets/packet.hpp"

namespace backplane::gateway::mqtt {
namespace {

/// Writes everything after the fixed header, whose first byte it returns.
class Body {
 public:
  Body(Version version, std::string& out) : version_(version), out_(out) {}

  std::uint8_t write(const Connect& packet) {
    append_string("MQTT", out_);
    append_byte(static_cast<std::uint8_t>(version_), out_);
    unsigned flags = packet.clean_start ? 0x02U : 0U;
    if (packet.will) {
      flags |= 0x04U | static_cast<unsigned>(packet.will->qos) << 3U | (packet.will->retain ? 0x20U : 0U);
    }
    if (packet.password) flags |= 0x40U;
    if (packet.user_name) flags |= 0x80U;
    append_byte(static_cast<std::uint8_t>(flags), out_);
    append_two_bytes(packet.keep_alive, out_);
    properties(packet.properties);
    append_string(packet.client_id, out_);
    if (packet.will) {
      properties(packet.will->properties);
      append_string(packet.will->topic, out_);
      append_string(packet.will->payload, out_);
    }
    if (packet.user_name) append_string(*packet.user_name, out_);
    if (packet.password) append_string(*packet.password, out_);
    return first(PacketType::connect);
  }

  std::uint8_t write(const Connack& packet) {
    append_byte(packet.session_present ? 1 : 0, out_);
    append_byte(is_v5() ? static_cast<std::uint8_t>(packet.reason)
                        : static_cast<std::uint8_t>(return_code(packet.reason)),
                out_);
    properties(packet.properties);
    return first(PacketType::connack);
  }

  std::uint8_t write(const Publish& packet) {
    append_string(packet.topic, out_);
    if (packet.qos > 0) append_two_bytes(packet.packet_id, out_);
    properties(packet.properties);
    out_.append(packet.payload);
    return first(PacketType::publish, (packet.duplicate ? 8U : 0U) | static_cast<unsigned>(packet.qos) << 1U |
                                          (packet.retain ? 1U : 0U));
  }

  std::uint8_t write(const PublishReply& packet) {
    append_two_bytes(packet.packet_id, out_);
    reason_and_properties(packet.reason, packet.properties);
    return first(packet.type, packet.type == PacketType::pubrel ? 2U : 0U);
  }

  std::uint8_t write(const Subscribe& packet) {
    append_two_bytes(packet.packet_id, out_);
    properties(packet.properties);
    for (const TopicRequest& each : packet.topics) {
      append_string(each.filter, out_);
      append_byte(static_cast<std::uint8_t>(each.qos | (each.no_local ? 4U : 0U) |
                                            (each.retain_as_published ? 8U : 0U) |
                                            static_cast<unsigned>(each.retain_handling) << 4U),
                  out_);
    }
    return first(PacketType::subscribe, 2U);
  }

  std::uint8_t write(const SubscribeReply& packet) {
    append_two_bytes(packet.packet_id, out_);
    properties(packet.properties);
    if (!is_v5() && packet.type == PacketType::unsuback) return first(packet.type);
    for (const ReasonCode each : packet.reasons) {
      // 3.1.1 has one code for all failures.
      append_byte(!is_v5() && is_error(each) ? 0x80 : static_cast<std::uint8_t>(each), out_);
    }
    return first(packet.type);
  }

  std::uint8_t write(const Unsubscribe& packet) {
    append_two_bytes(packet.packet_id, out_);
    properties(packet.properties);
    for (const std::string_view each : packet.filters) append_string(each, out_);
    return first(PacketType::unsubscribe, 2U);
  }

  std::uint8_t write(const Ping& packet) { return first(packet.type); }

  std::uint8_t write(const Disconnect& packet) {
    reason_and_properties(packet.reason, packet.properties);
    return first(PacketType::disconnect);
  }

  std::uint8_t write(const Auth& packet) {
    reason_and_properties(packet.reason, packet.properties);
    return first(PacketType::auth);
  }

 private:
  [[nodiscard]] bool is_v5() const noexcept { return version_ == Version::v5_0; }
  static std::uint8_t first(PacketType type, unsigned flags = 0) noexcept {
    return static_cast<std::uint8_t>(static_cast<unsigned>(type) << 4U | flags);
  }
  void properties(const Properties& properties) {
    if (is_v5()) append_properties(properties, out_);
  }
  /// Both may be omitted at the end of a packet.
  void reason_and_properties(ReasonCode reason, const Properties& of) {
    if (!is_v5()) return;
    const bool any = of != Properties{};
    if (reason == ReasonCode::success && !any) return;
    append_byte(static_cast<std::uint8_t>(reason), out_);
    if (any) append_properties(of, out_);
  }

  Version version_;
  std::string& out_;
};

}  // namespace

void append_packet(Version version, const Packet& packet, std::string& out) {
  std::string body;
  Body writer(version, body);
  const std::uint8_t first = std::visit([&](const auto& each) { return writer.write(each); }, packet);
  CHECK(body.size() <= remaining_length_max, "a packet is not longer than MQTT permits");
  append_byte(first, out);
  append_varint(static_cast<std::uint32_t>(body.size()), out);
  out += body;
}

}  // namespace backplane::gateway::mqtt
