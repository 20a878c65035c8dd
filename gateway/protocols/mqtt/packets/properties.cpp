#include "gateway/protocols/mqtt/packets/properties.hpp"

#include <array>

#include "gateway/encode/mqtt_fields.hpp"

namespace backplane::gateway::mqtt {
namespace {

enum class Kind : std::uint8_t { flag, two_bytes, four_bytes, varint, string, binary, pair };

constexpr std::uint32_t bit(PropertyOwner owner) noexcept {
  return 1U << static_cast<unsigned>(owner);
}
template <class... Owners>
constexpr std::uint32_t owners(Owners... each) noexcept {
  return (bit(each) | ...);
}

/// The type of a property and the packets that may have it, by its identifier.
struct Definition {
  Kind kind{};
  std::uint32_t owners{};  ///< 0: there is no such property
  bool positive{};         ///< 0 is a protocol error
};

using enum PropertyOwner;

constexpr std::uint32_t with_reason =
    owners(connack, puback, pubrec, pubrel, pubcomp, suback, unsuback, disconnect, auth);
constexpr std::uint32_t with_user = with_reason | owners(connect, publish, subscribe, unsubscribe, will);

constexpr std::size_t identifiers = 0x2b;
constexpr std::array<Definition, identifiers> definitions = [] {
  std::array<Definition, identifiers> all{};
  all[0x01] = {Kind::flag, owners(publish, will)};
  all[0x02] = {Kind::four_bytes, owners(publish, will)};
  all[0x03] = {Kind::string, owners(publish, will)};
  all[0x08] = {Kind::string, owners(publish, will)};
  all[0x09] = {Kind::binary, owners(publish, will)};
  all[0x0b] = {Kind::varint, owners(publish, subscribe), true};
  all[0x11] = {Kind::four_bytes, owners(connect, connack, disconnect)};
  all[0x12] = {Kind::string, owners(connack)};
  all[0x13] = {Kind::two_bytes, owners(connack)};
  all[0x15] = {Kind::string, owners(connect, connack, auth)};
  all[0x16] = {Kind::binary, owners(connect, connack, auth)};
  all[0x17] = {Kind::flag, owners(connect)};
  all[0x18] = {Kind::four_bytes, owners(will)};
  all[0x19] = {Kind::flag, owners(connect)};
  all[0x1a] = {Kind::string, owners(connack)};
  all[0x1c] = {Kind::string, owners(connack, disconnect)};
  all[0x1f] = {Kind::string, with_reason};
  all[0x21] = {Kind::two_bytes, owners(connect, connack), true};
  all[0x22] = {Kind::two_bytes, owners(connect, connack)};
  all[0x23] = {Kind::two_bytes, owners(publish)};
  all[0x24] = {Kind::flag, owners(connack)};
  all[0x25] = {Kind::flag, owners(connack)};
  all[0x26] = {Kind::pair, with_user};
  all[0x27] = {Kind::four_bytes, owners(connect, connack), true};
  all[0x28] = {Kind::flag, owners(connack)};
  all[0x29] = {Kind::flag, owners(connack)};
  all[0x2a] = {Kind::flag, owners(connack)};
  return all;
}();

/// Calls visit(identifier, optional value) for each property that may appear once.
template <class Of, class Visit>
void for_each_single(Of& of, Visit&& visit) {
  visit(0x01, of.payload_format);
  visit(0x02, of.message_expiry);
  visit(0x03, of.content_type);
  visit(0x08, of.response_topic);
  visit(0x09, of.correlation_data);
  visit(0x11, of.session_expiry);
  visit(0x12, of.assigned_client_id);
  visit(0x13, of.server_keep_alive);
  visit(0x15, of.authentication_method);
  visit(0x16, of.authentication_data);
  visit(0x17, of.request_problem_information);
  visit(0x18, of.will_delay);
  visit(0x19, of.request_response_information);
  visit(0x1a, of.response_information);
  visit(0x1c, of.server_reference);
  visit(0x1f, of.reason_string);
  visit(0x21, of.receive_maximum);
  visit(0x22, of.topic_alias_maximum);
  visit(0x23, of.topic_alias);
  visit(0x24, of.maximum_qos);
  visit(0x25, of.retain_available);
  visit(0x27, of.maximum_packet_size);
  visit(0x28, of.wildcard_subscriptions_available);
  visit(0x29, of.subscription_ids_available);
  visit(0x2a, of.shared_subscriptions_available);
}

void read_value(FieldReader& fields, Kind, std::uint8_t& value) {
  value = fields.byte();
  if (value > 1) fields.fail(ReasonCode::protocol_error, "a property has a value other than 0 and 1");
}
void read_value(FieldReader& fields, Kind, std::uint16_t& value) {
  value = fields.two_bytes();
}
void read_value(FieldReader& fields, Kind, std::uint32_t& value) {
  value = fields.four_bytes();
}
void read_value(FieldReader& fields, Kind kind, std::string_view& value) {
  value = kind == Kind::binary ? fields.binary() : fields.string();
}

bool is_zero(std::string_view) noexcept {
  return false;
}
template <class Number>
bool is_zero(Number value) noexcept {
  return value == 0;
}

void read_one(PropertyOwner owner, FieldReader& fields, Properties& properties) {
  const std::uint32_t id = fields.varint();
  if (!fields.ok()) return;
  if (id >= definitions.size() || (definitions[id].owners & bit(owner)) == 0) {
    return fields.fail(ReasonCode::malformed_packet, "a property does not belong to this type of packet");
  }
  const Definition& definition = definitions[id];
  if (definition.kind == Kind::pair) {
    const std::string_view name = fields.string();
    properties.user_properties.emplace_back(name, fields.string());
    return;
  }
  if (definition.kind == Kind::varint) {
    const std::uint32_t value = fields.varint();
    if (fields.ok() && value == 0) fields.fail(ReasonCode::protocol_error, "a subscription identifier is 0");
    if (owner == subscribe && !properties.subscription_ids.empty()) {
      fields.fail(ReasonCode::protocol_error, "a property appears more than once");
    }
    properties.subscription_ids.push_back(value);
    return;
  }
  for_each_single(properties, [&](std::uint32_t each, auto& value) {
    if (each != id) return;
    if (value) return fields.fail(ReasonCode::protocol_error, "a property appears more than once");
    read_value(fields, definition.kind, value.emplace());
    if (fields.ok() && definition.positive && is_zero(*value)) {
      fields.fail(ReasonCode::protocol_error, "a property that must be above 0 is 0");
    }
  });
}

void append_value(std::uint8_t value, std::string& out) {
  append_byte(value, out);
}
void append_value(std::uint16_t value, std::string& out) {
  append_two_bytes(value, out);
}
void append_value(std::uint32_t value, std::string& out) {
  append_four_bytes(value, out);
}
void append_value(std::string_view value, std::string& out) {
  append_string(value, out);
}

}  // namespace

Properties read_properties(PropertyOwner owner, FieldReader& fields) {
  Properties properties;
  const std::uint32_t length = fields.varint();
  FieldReader own(fields.take(length));
  while (own.ok() && !own.empty()) read_one(owner, own, properties);
  if (own.fault()) fields.fail(own.fault()->reason, own.fault()->text);
  return properties;
}

void append_properties(const Properties& properties, std::string& out) {
  std::string content;
  for_each_single(properties, [&](std::uint32_t id, const auto& value) {
    if (!value) return;
    append_byte(static_cast<std::uint8_t>(id), content);
    append_value(*value, content);
  });
  for (const std::uint32_t id : properties.subscription_ids) {
    append_byte(0x0b, content);
    append_varint(id, content);
  }
  for (const auto& [name, value] : properties.user_properties) {
    append_byte(0x26, content);
    append_string(name, content);
    append_string(value, content);
  }
  append_varint(static_cast<std::uint32_t>(content.size()), out);
  out += content;
}

}  // namespace backplane::gateway::mqtt
