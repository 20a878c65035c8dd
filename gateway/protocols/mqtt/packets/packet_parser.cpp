#include "gateway/protocols/mqtt/packets/packet_parser.hpp"

#include <algorithm>
#include <array>
#include <initializer_list>

namespace backplane::gateway::mqtt {
namespace {

using Parsed = tl::expected<Packet, Fault>;

constexpr std::string_view bad_flags = "the flags of the fixed header are not those of this type of packet";

tl::unexpected<Fault> malformed(std::string_view text) {
  return tl::unexpected(Fault{ReasonCode::malformed_packet, text});
}
tl::unexpected<Fault> protocol_error(std::string_view text) {
  return tl::unexpected(Fault{ReasonCode::protocol_error, text});
}

/// A whole packet: no fault, and nothing left.
template <class Of>
Parsed finish(FieldReader& fields, Of&& packet) {
  if (fields.fault()) return tl::unexpected(*fields.fault());
  if (!fields.empty()) return malformed("the packet has bytes after its last field");
  return Packet(std::forward<Of>(packet));
}

std::uint16_t read_packet_id(FieldReader& fields) {
  const std::uint16_t id = fields.two_bytes();
  if (fields.ok() && id == 0) fields.fail(ReasonCode::protocol_error, "a packet identifier is 0");
  return id;
}

Properties read_properties_of(Version version, PropertyOwner owner, FieldReader& fields) {
  return version == Version::v5_0 ? read_properties(owner, fields) : Properties{};
}

bool is_one_of(ReasonCode code, std::initializer_list<unsigned> codes) noexcept {
  return std::find(codes.begin(), codes.end(), static_cast<unsigned>(code)) != codes.end();
}

/// Whether a packet of this type may have the code (chapters 3.2 to 3.15).
bool may_have(PacketType type, ReasonCode code) noexcept {
  switch (type) {
    case PacketType::connack:
      return is_one_of(code, {0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89,
                              0x8a, 0x8c, 0x90, 0x95, 0x97, 0x99, 0x9a, 0x9b, 0x9c, 0x9d, 0x9f});
    case PacketType::puback:
    case PacketType::pubrec:
      return is_one_of(code, {0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99});
    case PacketType::pubrel:
    case PacketType::pubcomp:
      return is_one_of(code, {0x00, 0x92});
    case PacketType::suback:
      return is_one_of(code, {0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8f, 0x91, 0x97, 0x9e, 0xa1, 0xa2});
    case PacketType::unsuback:
      return is_one_of(code, {0x00, 0x11, 0x80, 0x83, 0x87, 0x8f, 0x91});
    case PacketType::disconnect:
      return is_one_of(
          code, {0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8b, 0x8d, 0x8e, 0x8f, 0x90, 0x93, 0x94,
                 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a, 0x9b, 0x9c, 0x9d, 0x9e, 0x9f, 0xa0, 0xa1, 0xa2});
    case PacketType::auth:
      return is_one_of(code, {0x00, 0x18, 0x19});
    default:
      return false;
  }
}

ReasonCode read_reason(PacketType type, FieldReader& fields) {
  const auto code = static_cast<ReasonCode>(fields.byte());
  if (fields.ok() && !may_have(type, code)) {
    fields.fail(ReasonCode::protocol_error, "a reason code does not belong to this type of packet");
  }
  return code;
}

void check_topic_name(std::string_view topic, FieldReader& fields) {
  if (fields.ok() && has_wildcards(topic)) {
    fields.fail(ReasonCode::topic_name_invalid, "a topic name has a wildcard");
  }
}

// ---- the types ----

constexpr unsigned clean_start_flag = 0x02;
constexpr unsigned will_flag = 0x04;
constexpr unsigned will_retain_flag = 0x20;
constexpr unsigned password_flag = 0x40;
constexpr unsigned user_name_flag = 0x80;

void read_will(Connect& connect, unsigned flags, FieldReader& fields) {
  Will& will = connect.will.emplace();
  will.qos = static_cast<std::uint8_t>(flags >> 3U & 3U);
  will.retain = (flags & will_retain_flag) != 0;
  will.properties = read_properties_of(connect.version, PropertyOwner::will, fields);
  will.topic = fields.string();
  if (fields.ok() && will.topic.empty())
    fields.fail(ReasonCode::malformed_packet, "the will's topic is empty");
  check_topic_name(will.topic, fields);
  will.payload = fields.binary();
}

Parsed parse_connect(FieldReader& fields) {
  Connect connect;
  const std::string_view name = fields.string();
  if (fields.ok() && name != "MQTT") {
    // 3.1 calls itself MQIsdp.
    return tl::unexpected(
        Fault{ReasonCode::unsupported_protocol_version, "the protocol is not MQTT 3.1.1 or 5.0"});
  }
  const std::uint8_t level = fields.byte();
  if (fields.ok() && level != 4 && level != 5) {
    return tl::unexpected(
        Fault{ReasonCode::unsupported_protocol_version, "the protocol is not MQTT 3.1.1 or 5.0"});
  }
  connect.version = static_cast<Version>(level);
  const unsigned flags = fields.byte();
  if (fields.fault()) return tl::unexpected(*fields.fault());
  if ((flags & 1U) != 0) return malformed("the reserved flag of CONNECT is set");
  const bool will = (flags & will_flag) != 0;
  if (!will && (flags & (0x18U | will_retain_flag)) != 0) {
    return malformed("there is no will, but it has a QoS or is to be retained");
  }
  if ((flags & 0x18U) == 0x18U) return malformed("the will's QoS is 3");
  if (connect.version == Version::v3_1_1 && (flags & user_name_flag) == 0 && (flags & password_flag) != 0) {
    return malformed("there is a password without a user name");
  }
  connect.clean_start = (flags & clean_start_flag) != 0;
  connect.keep_alive = fields.two_bytes();
  connect.properties = read_properties_of(connect.version, PropertyOwner::connect, fields);
  if (connect.properties.authentication_data && !connect.properties.authentication_method) {
    fields.fail(ReasonCode::protocol_error, "there is authentication data without a method");
  }
  connect.client_id = fields.string();
  if (will) read_will(connect, flags, fields);
  if ((flags & user_name_flag) != 0) connect.user_name = fields.string();
  if ((flags & password_flag) != 0) connect.password = fields.binary();
  return finish(fields, std::move(connect));
}

Parsed parse_connack(Version version, FieldReader& fields) {
  Connack connack;
  const std::uint8_t flags = fields.byte();
  if (fields.ok() && flags > 1)
    fields.fail(ReasonCode::malformed_packet, "a reserved flag of CONNACK is set");
  connack.session_present = flags == 1;
  if (version == Version::v5_0) {
    connack.reason = read_reason(PacketType::connack, fields);
    connack.properties = read_properties(PropertyOwner::connack, fields);
  } else {
    constexpr std::array<ReasonCode, 6> codes{ReasonCode::success,
                                              ReasonCode::unsupported_protocol_version,
                                              ReasonCode::client_identifier_not_valid,
                                              ReasonCode::server_unavailable,
                                              ReasonCode::bad_user_name_or_password,
                                              ReasonCode::not_authorized};
    const std::uint8_t code = fields.byte();
    if (fields.ok() && code >= codes.size())
      fields.fail(ReasonCode::protocol_error, "a return code is reserved");
    if (fields.ok()) connack.reason = codes[code];
  }
  if (fields.ok() && connack.session_present && connack.reason != ReasonCode::success) {
    fields.fail(ReasonCode::protocol_error, "a refused connection has a session");
  }
  return finish(fields, std::move(connack));
}

Parsed parse_publish(Version version, std::uint8_t flags, FieldReader& fields) {
  Publish publish;
  publish.duplicate = (flags & 8U) != 0;
  publish.qos = flags >> 1U & 3U;
  publish.retain = (flags & 1U) != 0;
  if (publish.qos == 3) return malformed("the QoS is 3");
  if (publish.duplicate && publish.qos == 0) return malformed("QoS 0 has no duplicates");
  publish.topic = fields.string();
  check_topic_name(publish.topic, fields);
  if (publish.qos > 0) publish.packet_id = read_packet_id(fields);
  publish.properties = read_properties_of(version, PropertyOwner::publish, fields);
  const Properties& properties = publish.properties;
  if (fields.ok() && publish.topic.empty() && !properties.topic_alias) {
    if (version == Version::v3_1_1) return malformed("the topic is empty");
    return protocol_error("there is neither a topic nor a topic alias");
  }
  if (properties.topic_alias == 0) {
    return tl::unexpected(Fault{ReasonCode::topic_alias_invalid, "the topic alias is 0"});
  }
  if (properties.response_topic && has_wildcards(*properties.response_topic)) {
    return protocol_error("the response topic has a wildcard");
  }
  publish.payload = fields.rest();
  return finish(fields, std::move(publish));
}

PropertyOwner owner_of(PacketType type) noexcept {
  return static_cast<PropertyOwner>(type);
}

Parsed parse_publish_reply(Version version, const RawPacket& raw, FieldReader& fields) {
  PublishReply reply;
  reply.type = raw.type;
  reply.packet_id = read_packet_id(fields);
  if (version == Version::v5_0 && !fields.empty()) {
    reply.reason = read_reason(raw.type, fields);
    if (!fields.empty()) reply.properties = read_properties(owner_of(raw.type), fields);
  }
  return finish(fields, std::move(reply));
}

void read_subscription_options(Version version, TopicRequest& topic, FieldReader& fields) {
  const unsigned options = fields.byte();
  if (!fields.ok()) return;
  topic.qos = options & 3U;
  const unsigned reserved = version == Version::v5_0 ? 0xc0U : 0xfcU;
  if ((options & reserved) != 0) {
    return fields.fail(ReasonCode::malformed_packet, "a reserved bit of a subscription's options is set");
  }
  if (topic.qos == 3) {
    return fields.fail(version == Version::v5_0 ? ReasonCode::protocol_error : ReasonCode::malformed_packet,
                       "the QoS of a subscription is 3");
  }
  topic.no_local = (options & 4U) != 0;
  topic.retain_as_published = (options & 8U) != 0;
  const unsigned handling = options >> 4U & 3U;
  if (handling == 3)
    return fields.fail(ReasonCode::protocol_error, "the retain handling of a subscription is 3");
  topic.retain_handling = static_cast<TopicRequest::RetainHandling>(handling);
  if (topic.no_local && topic.filter.starts_with("$share/")) {
    fields.fail(ReasonCode::protocol_error, "a shared subscription has No Local");
  }
}

std::string_view read_filter(FieldReader& fields) {
  const std::string_view filter = fields.string();
  if (fields.ok() && !is_filter(filter)) {
    fields.fail(
        filter.empty() ? ReasonCode::malformed_packet : ReasonCode::topic_filter_invalid,
        filter.empty() ? "a topic filter is empty" : "a wildcard of a topic filter is not a whole level");
  }
  return filter;
}

Parsed parse_subscribe(Version version, FieldReader& fields) {
  Subscribe subscribe;
  subscribe.packet_id = read_packet_id(fields);
  subscribe.properties = read_properties_of(version, PropertyOwner::subscribe, fields);
  if (fields.ok() && fields.empty()) return protocol_error("SUBSCRIBE has no topic filter");
  while (fields.ok() && !fields.empty()) {
    TopicRequest topic;
    topic.filter = read_filter(fields);
    read_subscription_options(version, topic, fields);
    subscribe.topics.push_back(topic);
  }
  return finish(fields, std::move(subscribe));
}

Parsed parse_subscribe_reply(Version version, const RawPacket& raw, FieldReader& fields) {
  SubscribeReply reply;
  reply.type = raw.type;
  reply.packet_id = read_packet_id(fields);
  reply.properties = read_properties_of(version, owner_of(raw.type), fields);
  const bool reasons = version == Version::v5_0 || raw.type == PacketType::suback;
  if (fields.ok() && reasons && fields.empty()) return protocol_error("there is no reason code");
  while (reasons && fields.ok() && !fields.empty()) {
    const ReasonCode code = read_reason(raw.type, fields);
    if (fields.ok() && version == Version::v3_1_1 && is_error(code) &&
        code != ReasonCode::unspecified_error) {
      fields.fail(ReasonCode::protocol_error, "a return code is reserved");
    }
    reply.reasons.push_back(code);
  }
  return finish(fields, std::move(reply));
}

Parsed parse_unsubscribe(Version version, FieldReader& fields) {
  Unsubscribe unsubscribe;
  unsubscribe.packet_id = read_packet_id(fields);
  unsubscribe.properties = read_properties_of(version, PropertyOwner::unsubscribe, fields);
  if (fields.ok() && fields.empty()) return protocol_error("UNSUBSCRIBE has no topic filter");
  while (fields.ok() && !fields.empty()) unsubscribe.filters.push_back(read_filter(fields));
  return finish(fields, std::move(unsubscribe));
}

Parsed parse_disconnect(Version version, FieldReader& fields) {
  Disconnect disconnect;
  if (version == Version::v5_0 && !fields.empty()) {
    disconnect.reason = read_reason(PacketType::disconnect, fields);
    if (!fields.empty()) disconnect.properties = read_properties(PropertyOwner::disconnect, fields);
  }
  return finish(fields, std::move(disconnect));
}

Parsed parse_auth(FieldReader& fields) {
  Auth auth;
  if (!fields.empty()) {
    auth.reason = read_reason(PacketType::auth, fields);
    if (!fields.empty()) auth.properties = read_properties(PropertyOwner::auth, fields);
  }
  if (fields.ok() && !auth.properties.authentication_method && auth.reason != ReasonCode::success) {
    return protocol_error("there is no authentication method");
  }
  return finish(fields, std::move(auth));
}

/// The flags that a type must have; PUBLISH has its own.
std::uint8_t fixed_flags(PacketType type) noexcept {
  const bool two =
      type == PacketType::pubrel || type == PacketType::subscribe || type == PacketType::unsubscribe;
  return two ? 2 : 0;
}

}  // namespace

bool is_filter(std::string_view filter) noexcept {
  if (filter.empty()) return false;
  for (std::size_t begin = 0;;) {
    const std::size_t end = std::min(filter.find('/', begin), filter.size());
    const std::string_view level = filter.substr(begin, end - begin);
    const bool last = end == filter.size();
    if (has_wildcards(level) && level != "+" && !(level == "#" && last)) return false;
    if (last) return true;
    begin = end + 1;
  }
}

tl::expected<Packet, Fault> parse_packet(Version version, const RawPacket& raw) {
  FieldReader fields(raw.body);
  if (raw.type != PacketType::publish && raw.flags != fixed_flags(raw.type)) return malformed(bad_flags);
  if (!raw.shortest_length && version == Version::v5_0 && raw.type != PacketType::connect) {
    return malformed("the remaining length is not in its shortest form");
  }
  switch (raw.type) {
    case PacketType::connect: {
      auto parsed = parse_connect(fields);
      if (parsed && !raw.shortest_length && std::get<Connect>(*parsed).version == Version::v5_0) {
        return malformed("the remaining length is not in its shortest form");
      }
      return parsed;
    }
    case PacketType::connack:
      return parse_connack(version, fields);
    case PacketType::publish:
      return parse_publish(version, raw.flags, fields);
    case PacketType::puback:
    case PacketType::pubrec:
    case PacketType::pubrel:
    case PacketType::pubcomp:
      return parse_publish_reply(version, raw, fields);
    case PacketType::subscribe:
      return parse_subscribe(version, fields);
    case PacketType::suback:
    case PacketType::unsuback:
      return parse_subscribe_reply(version, raw, fields);
    case PacketType::unsubscribe:
      return parse_unsubscribe(version, fields);
    case PacketType::pingreq:
    case PacketType::pingresp:
      return finish(fields, Ping{raw.type});
    case PacketType::disconnect:
      return parse_disconnect(version, fields);
    case PacketType::auth:
      if (version == Version::v5_0) return parse_auth(fields);
      break;
  }
  return malformed("the type of packet is reserved");
}

}  // namespace backplane::gateway::mqtt
