// The packets of MQTT: golden bytes, everything that is malformed, and pieces of any size.
#include "gateway/protocols/mqtt/packets/packet.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <gtest/gtest.h>

#include "gateway/protocols/mqtt/packets/packet_parser.hpp"
#include "gateway/protocols/mqtt/packets/packet_reader.hpp"
#include "tests/golden/golden.hpp"

namespace backplane::gateway::mqtt {
namespace {

using namespace std::string_literals;
using namespace std::string_view_literals;

constexpr std::size_t bytes_max = 1u << 20;

/// What a reader and the parser make of some bytes: each packet as it is written again, and the first fault.
struct Read {
  std::vector<std::string> packets;
  std::optional<ReasonCode> fault;
  bool operator==(const Read&) const = default;
};

Read read(Version version, std::string_view bytes, std::size_t piece = bytes_max) {
  PacketReader reader(bytes_max);
  Read result;
  for (; !bytes.empty(); bytes.remove_prefix(std::min(piece, bytes.size()))) {
    const auto fault = reader.read(bytes.substr(0, piece), [&](const RawPacket& raw) {
      const auto packet = parse_packet(version, raw);
      if (packet) {
        append_packet(version, *packet, result.packets.emplace_back());
      } else {
        result.fault = packet.error().reason;
      }
      return packet.has_value();
    });
    if (fault) result.fault = fault->reason;
  }
  return result;
}

/// The reason for which the bytes of one packet are refused; success if they are not.
ReasonCode fault_of(Version version, std::string_view bytes) {
  return read(version, bytes).fault.value_or(ReasonCode::success);
}
ReasonCode fault_of_5(std::string_view bytes) {
  return fault_of(Version::v5_0, bytes);
}
ReasonCode fault_of_3(std::string_view bytes) {
  return fault_of(Version::v3_1_1, bytes);
}

/// Puts the fixed header before a body of less than 128 bytes.
std::string packet(unsigned first, std::string_view body) {
  return std::string{static_cast<char>(first), static_cast<char>(body.size())} + std::string(body);
}

/// A CONNECT with these flags and this rest after the keep-alive.
std::string connect(char level, unsigned flags, std::string_view rest) {
  return packet(0x10, "\0\4MQTT"s + level + static_cast<char>(flags) + "\0\x3c"s + std::string(rest));
}

constexpr auto ok = ReasonCode::success;
constexpr auto malformed = ReasonCode::malformed_packet;
constexpr auto protocol_error = ReasonCode::protocol_error;

TEST(MqttPacket, GoldenBytesAreReadAndWrittenUnchanged) {
  for (const auto& [name, version, count] : {std::tuple{"mqtt_client_5.hex"sv, Version::v5_0, 12U},
                                             {"mqtt_server_5.hex"sv, Version::v5_0, 6U},
                                             {"mqtt_client_3.hex"sv, Version::v3_1_1, 10U},
                                             {"mqtt_server_3.hex"sv, Version::v3_1_1, 6U}}) {
    const std::string bytes = golden::bytes(name);
    const Read whole = read(version, bytes);
    EXPECT_EQ(whole.fault, std::nullopt) << name;
    EXPECT_EQ(whole.packets.size(), count) << name;
    std::string written;
    for (const std::string& each : whole.packets) written += each;
    EXPECT_EQ(written, bytes) << name;
    for (std::size_t piece = 1; piece < 40; ++piece)
      EXPECT_EQ(read(version, bytes, piece), whole) << name << piece;
  }
}

TEST(MqttPacket, FieldsOfTheGoldenConnectAreThoseOfItsComment) {
  const std::string bytes = golden::bytes("mqtt_client_5.hex");
  PacketReader reader(bytes_max);
  std::size_t seen = 0;
  ASSERT_FALSE(reader.read(bytes, [&](const RawPacket& raw) {
    const auto parsed = parse_packet(Version::v5_0, raw);
    EXPECT_TRUE(parsed);
    const auto* const connect = std::get_if<Connect>(&*parsed);
    EXPECT_NE(connect, nullptr);
    if (connect == nullptr) return false;
    ++seen;
    EXPECT_EQ(connect->client_id, "device7");
    EXPECT_EQ(connect->keep_alive, 60);
    EXPECT_TRUE(connect->clean_start);
    EXPECT_EQ(connect->properties.receive_maximum, 20);
    EXPECT_TRUE(connect->will);
    EXPECT_EQ(connect->will->topic, "status/device7");
    EXPECT_EQ(connect->will->payload, "gone");
    EXPECT_EQ(connect->will->qos, 1);
    EXPECT_TRUE(connect->will->retain);
    EXPECT_EQ(connect->will->properties.will_delay, 5u);
    EXPECT_EQ(connect->user_name, "meter");
    EXPECT_EQ(connect->password, "secret");
    return false;
  }));
  EXPECT_EQ(seen, 1u);
}

TEST(MqttPacket, APrefixOfAPacketIsNeitherAPacketNorAFault) {
  const std::string bytes = golden::bytes("mqtt_client_5.hex");
  const std::size_t first = 2 + static_cast<unsigned char>(bytes[1]);
  for (std::size_t size = 0; size < first; ++size) {
    EXPECT_EQ(read(Version::v5_0, bytes.substr(0, size)), Read{}) << size;
  }
}

TEST(MqttPacket, ABodyThatEndsEarlyIsMalformed) {
  for (const auto& [name, version] : {std::pair{"mqtt_client_5.hex"sv, Version::v5_0},
                                      {"mqtt_server_5.hex"sv, Version::v5_0},
                                      {"mqtt_client_3.hex"sv, Version::v3_1_1},
                                      {"mqtt_server_3.hex"sv, Version::v3_1_1}}) {
    std::string bytes = golden::bytes(name);
    while (!bytes.empty()) {
      const std::size_t size = 2 + static_cast<unsigned char>(bytes[1]);
      for (std::size_t cut = 1; cut + 2 < size; ++cut) {
        std::string shorter = bytes.substr(0, size - cut);
        shorter[1] = static_cast<char>(shorter.size() - 2);
        // What is left may be a whole packet, as when the end was a payload. It is never an odd fault.
        const ReasonCode fault = fault_of(version, shorter);
        EXPECT_TRUE(fault == ok || fault == malformed || fault == protocol_error) << name << " " << cut;
      }
      bytes.erase(0, size);
    }
  }
}

TEST(MqttPacket, TypesAndFlagsOfTheFixedHeader) {
  EXPECT_EQ(fault_of_5("\x00\x00"sv), malformed);
  EXPECT_EQ(fault_of_3("\xf0\x00"sv), malformed) << "AUTH is not of 3.1.1";
  for (const unsigned type : {1U, 2U, 4U, 5U, 7U, 9U, 11U, 12U, 13U, 14U, 15U}) {
    for (unsigned flags = 1; flags < 16; ++flags) {
      EXPECT_EQ(fault_of_5(packet(type << 4U | flags, "")), malformed) << type << " " << flags;
    }
  }
  for (const unsigned type : {6U, 8U, 10U}) {
    for (unsigned flags = 0; flags < 16; ++flags) {
      if (flags == 2) continue;
      EXPECT_EQ(fault_of_5(packet(type << 4U | flags, "")), malformed) << type << " " << flags;
    }
  }
}

TEST(MqttPacket, RemainingLengths) {
  EXPECT_EQ(fault_of_5("\xc0\x80\x80\x80\x80\x01"sv), malformed) << "5 bytes";
  EXPECT_EQ(fault_of_5("\x30\xff\xff\xff\x7f"sv), ReasonCode::packet_too_large)
      << "256 MiB, of which nothing came";
  EXPECT_EQ(fault_of_5("\xc0\x80\x00"sv), malformed) << "not the shortest form";
  EXPECT_EQ(fault_of_3("\xc0\x80\x80\x00"sv), ok) << "3.1.1 permits that";
  EXPECT_EQ(fault_of_5(std::string("\x10\x8d\x00", 3) + connect('\5', 2, "\0\0\0"sv).substr(2)), malformed);
  PacketReader reader(5);
  const auto on_packet = [](const RawPacket&) { return true; };
  EXPECT_FALSE(reader.read("\x30\x03\x00\x01x"sv, on_packet));
  EXPECT_EQ(reader.read("\x30\x04"sv, on_packet)->reason, ReasonCode::packet_too_large);
  EXPECT_FALSE(reader.read("\x00"sv, on_packet)) << "everything behind a fault is ignored";
}

TEST(MqttPacket, Strings) {
  const auto publish = [](std::string_view topic) {
    return packet(0x30, "\0"s + static_cast<char>(topic.size()) + std::string(topic));
  };
  EXPECT_EQ(fault_of_3(publish("t\xc3\xa4st")), ok);
  EXPECT_EQ(fault_of_3(publish("\xef\xbb\xbf"
                               "a")),
            ok)
      << "a byte order mark is a character";
  EXPECT_EQ(fault_of_3(publish("\xed\xa0\x80")), malformed) << "a surrogate";
  EXPECT_EQ(fault_of_3(publish("a\0b"sv)), malformed) << "U+0000";
  EXPECT_EQ(fault_of_3(publish("\xff")), malformed);
  EXPECT_EQ(fault_of_3(publish("\xc0\x80")), malformed) << "an overlong form";
}

TEST(MqttPacket, Connect) {
  EXPECT_EQ(fault_of_3(connect('\4', 2, "\0\0"sv)), ok);
  EXPECT_EQ(fault_of_3(connect('\5', 2, "\0\0\0"sv)), ok) << "CONNECT has its own version";
  EXPECT_EQ(fault_of_5(connect('\3', 2, "\0\0"sv)), ReasonCode::unsupported_protocol_version);
  EXPECT_EQ(fault_of_5(connect('\6', 2, "\0\0"sv)), ReasonCode::unsupported_protocol_version);
  EXPECT_EQ(fault_of_5(packet(0x10, "\0\6MQIsdp\3\2\0\x3c\0\0"sv)), ReasonCode::unsupported_protocol_version);
  EXPECT_EQ(fault_of_5(connect('\5', 3, "\0\0\0"sv)), malformed) << "the reserved flag";
  EXPECT_EQ(fault_of_5(connect('\5', 0x0a, "\0\0\0"sv)), malformed) << "a QoS without a will";
  EXPECT_EQ(fault_of_5(connect('\5', 0x22, "\0\0\0"sv)), malformed) << "a retained will without a will";
  EXPECT_EQ(fault_of_5(connect('\5', 0x1e, "\0\0\0\0\0\1a\0\0"sv)), malformed) << "a will at QoS 3";
  EXPECT_EQ(fault_of_5(connect('\5', 0x06, "\0\0\0\0\0\1a\0\0"sv)), ok);
  EXPECT_EQ(fault_of_5(connect('\5', 0x06, "\0\0\0\0\0\0\0\0"sv)), malformed) << "a will without a topic";
  EXPECT_EQ(fault_of_5(connect('\5', 0x06, "\0\0\0\0\0\1#\0\0"sv)), ReasonCode::topic_name_invalid);
  EXPECT_EQ(fault_of_3(connect('\4', 0x42, "\0\0\0\1p"sv)), malformed) << "a password without a user";
  EXPECT_EQ(fault_of_5(connect('\5', 0x42, "\0\0\0\0\1p"sv)), ok) << "5.0 permits that";
  EXPECT_EQ(fault_of_5(connect('\5', 0x82, "\0\0\0"sv)), malformed) << "the user is missing";
  EXPECT_EQ(fault_of_5(connect('\5', 2, "\0\0\0x"sv)), malformed) << "one byte too many";
  EXPECT_EQ(fault_of_5(connect('\5', 2, "\3\x21\0\0\0\0"sv)), protocol_error) << "receive maximum 0";
  EXPECT_EQ(fault_of_5(connect('\5', 2, "\5\x27\0\0\0\0\0\0"sv)), protocol_error) << "maximum packet size 0";
  EXPECT_EQ(fault_of_5(connect('\5', 2, "\2\x17\2\0\0"sv)), protocol_error)
      << "request problem information 2";
  EXPECT_EQ(fault_of_5(connect('\5', 2, "\4\x16\0\1x\0\0"sv)), protocol_error) << "data without a method";
  EXPECT_EQ(fault_of_5(connect('\5', 2, "\4\x17\1\x17\1\0\0"sv)), protocol_error) << "a property twice";
  EXPECT_EQ(fault_of_5(connect('\5', 2, "\3\x23\0\1\0\0"sv)), malformed) << "a property of PUBLISH";
  EXPECT_EQ(fault_of_5(connect('\5', 2, "\2\x7f\0\0\0"sv)), malformed) << "no property at all";
  EXPECT_EQ(fault_of_5(connect('\5', 2, "\2\x21\0\1\0\0"sv)), malformed)
      << "a property behind the end of properties";
  EXPECT_EQ(fault_of_5(connect('\5', 2, "\x80\0\0\0"sv)), malformed) << "a length not in its shortest form";
}

TEST(MqttPacket, Publish) {
  EXPECT_EQ(fault_of_3(packet(0x30, "\0\1ax"sv)), ok);
  EXPECT_EQ(fault_of_3(packet(0x36, "\0\1a\0\1"sv)), malformed) << "QoS 3";
  EXPECT_EQ(fault_of_3(packet(0x38, "\0\1a"sv)), malformed) << "a duplicate at QoS 0";
  EXPECT_EQ(fault_of_3(packet(0x32, "\0\1a\0\0"sv)), protocol_error) << "packet id 0";
  EXPECT_EQ(fault_of_3(packet(0x30, "\0\0x"sv)), malformed) << "no topic";
  EXPECT_EQ(fault_of_5(packet(0x30, "\0\0\0x"sv)), protocol_error) << "neither topic nor alias";
  EXPECT_EQ(fault_of_5(packet(0x30, "\0\0\3\x23\0\1x"sv)), ok);
  EXPECT_EQ(fault_of_5(packet(0x30, "\0\1a\3\x23\0\0x"sv)), ReasonCode::topic_alias_invalid);
  EXPECT_EQ(fault_of_5(packet(0x30, "\0\1a\2\1\2x"sv)), protocol_error) << "payload format 2";
  EXPECT_EQ(fault_of_5(packet(0x30, "\0\1a\2\x0b\0x"sv)), protocol_error) << "subscription identifier 0";
  EXPECT_EQ(fault_of_5(packet(0x30, "\0\1a\4\x08\0\1+x"sv)), protocol_error)
      << "a wildcard in the response topic";
  for (const auto topic : {"+"sv, "#"sv, "a/+"sv, "a#"sv}) {
    const std::string body = "\0"s + static_cast<char>(topic.size()) + std::string(topic);
    EXPECT_EQ(fault_of_3(packet(0x30, body)), ReasonCode::topic_name_invalid) << topic;
  }
}

TEST(MqttPacket, RepliesToPublish) {
  for (const unsigned first : {0x40U, 0x50U, 0x62U, 0x70U}) {
    EXPECT_EQ(fault_of_3(packet(first, "\0\1"sv)), ok);
    EXPECT_EQ(fault_of_3(packet(first, "\0\1\0"sv)), malformed) << "3.1.1 has no reason codes";
    EXPECT_EQ(fault_of_5(packet(first, "\0\1\0"sv)), ok);
    EXPECT_EQ(fault_of_5(packet(first, "\0\1\0\0"sv)), ok);
    EXPECT_EQ(fault_of_5(packet(first, "\0\0"sv)), protocol_error);
    EXPECT_EQ(fault_of_5(packet(first, "\1"sv)), malformed);
    EXPECT_EQ(fault_of_5(packet(first, "\0\1\x8e"sv)), protocol_error) << "a reason code of another type";
    EXPECT_EQ(fault_of_5(packet(first, "\0\1\0\0x"sv)), malformed);
  }
  EXPECT_EQ(fault_of_5(packet(0x40, "\0\1\x92"sv)), protocol_error);
  EXPECT_EQ(fault_of_5(packet(0x62, "\0\1\x92"sv)), ok);
}

TEST(MqttPacket, Subscribe) {
  EXPECT_EQ(fault_of_3(packet(0x82, "\0\1\0\1a\2"sv)), ok);
  EXPECT_EQ(fault_of_3(packet(0x82, "\0\1"sv)), protocol_error) << "no filter";
  EXPECT_EQ(fault_of_3(packet(0x82, "\0\1\0\1a\3"sv)), malformed) << "QoS 3";
  EXPECT_EQ(fault_of_3(packet(0x82, "\0\1\0\1a\4"sv)), malformed) << "3.1.1 has no No Local";
  EXPECT_EQ(fault_of_3(packet(0x82, "\0\1\0\0\0"sv)), malformed) << "an empty filter";
  EXPECT_EQ(fault_of_3(packet(0x82, "\0\0\0\1a\0"sv)), protocol_error) << "packet id 0";
  EXPECT_EQ(fault_of_3(packet(0x82, "\0\1\0\1a"sv)), malformed) << "no options";
  EXPECT_EQ(fault_of_5(packet(0x82, "\0\1\0\0\1a\x2e"sv)), ok);
  EXPECT_EQ(fault_of_5(packet(0x82, "\0\1\0\0\1a\3"sv)), protocol_error) << "QoS 3";
  EXPECT_EQ(fault_of_5(packet(0x82, "\0\1\0\0\1a\x30"sv)), protocol_error) << "retain handling 3";
  EXPECT_EQ(fault_of_5(packet(0x82, "\0\1\0\0\1a\x40"sv)), malformed) << "a reserved bit";
  EXPECT_EQ(fault_of_5(packet(0x82, "\0\1\2\x0b\0\0\1a\0"sv)), protocol_error) << "subscription identifier 0";
  EXPECT_EQ(fault_of_5(packet(0x82, "\0\1\4\x0b\1\x0b\2\0\1a\0"sv)), protocol_error) << "two identifiers";
  EXPECT_EQ(fault_of_5(packet(0x82, "\0\1\0\0\x0a$share/g/a\4"sv)), protocol_error)
      << "shared, with No Local";
  for (const auto filter : {"a+"sv, "#/a"sv, "a/b#"sv, "a#"sv, "+a/b"sv}) {
    const std::string body = "\0\1\0"s + static_cast<char>(filter.size()) + std::string(filter) + "\0"s;
    EXPECT_EQ(fault_of_3(packet(0x82, body)), ReasonCode::topic_filter_invalid) << filter;
  }
  for (const auto filter : {"#"sv, "+"sv, "+/+"sv, "a/#"sv, "+/a/#"sv, "/"sv, "a//b"sv}) {
    const std::string body = "\0\1\0"s + static_cast<char>(filter.size()) + std::string(filter) + "\0"s;
    EXPECT_EQ(fault_of_3(packet(0x82, body)), ok) << filter;
  }
}

TEST(MqttPacket, Unsubscribe) {
  EXPECT_EQ(fault_of_3(packet(0xa2, "\0\1\0\1a"sv)), ok);
  EXPECT_EQ(fault_of_3(packet(0xa2, "\0\1"sv)), protocol_error);
  EXPECT_EQ(fault_of_5(packet(0xa2, "\0\1\0"sv)), protocol_error);
  EXPECT_EQ(fault_of_5(packet(0xa2, "\0\0\0\0\1a"sv)), protocol_error);
}

TEST(MqttPacket, PacketsWithoutABody) {
  for (const unsigned first : {0xc0U, 0xd0U}) {
    EXPECT_EQ(fault_of_3(packet(first, "")), ok);
    EXPECT_EQ(fault_of_3(packet(first, "x")), malformed);
  }
  EXPECT_EQ(fault_of_3(packet(0xe0, "")), ok);
  EXPECT_EQ(fault_of_3(packet(0xe0, "\0"sv)), malformed);
}

TEST(MqttPacket, DisconnectAndAuth) {
  EXPECT_EQ(fault_of_5(packet(0xe0, "")), ok);
  EXPECT_EQ(fault_of_5(packet(0xe0, "\4"sv)), ok);
  EXPECT_EQ(fault_of_5(packet(0xe0, "\1"sv)), protocol_error);
  EXPECT_EQ(fault_of_5(packet(0xe0, "\0\5\x11\0\0\0\1"sv)), ok);
  EXPECT_EQ(fault_of_5(packet(0xf0, "")), ok);
  EXPECT_EQ(fault_of_5(packet(0xf0, "\x18"sv)), protocol_error) << "no method";
  EXPECT_EQ(fault_of_5(packet(0xf0, "\x18\4\x15\0\1m"sv)), ok);
  EXPECT_EQ(fault_of_5(packet(0xf0, "\1"sv)), protocol_error);
}

TEST(MqttPacket, RepliesOfAServer) {
  EXPECT_EQ(fault_of_5(packet(0x20, "\2\0\0"sv)), malformed) << "a reserved flag";
  EXPECT_EQ(fault_of_5(packet(0x20, "\1\x87\0"sv)), protocol_error) << "a session, but refused";
  EXPECT_EQ(fault_of_3(packet(0x20, "\0\6"sv)), protocol_error) << "a reserved return code";
  EXPECT_EQ(fault_of_5(packet(0x20, "\0\1\0"sv)), protocol_error);
  EXPECT_EQ(fault_of_5(packet(0x90, "\0\1\0"sv)), protocol_error) << "no reason code";
  EXPECT_EQ(fault_of_3(packet(0x90, "\0\1\x87"sv)), protocol_error) << "a reason code of 5.0";
  EXPECT_EQ(fault_of_3(packet(0xb0, "\0\1\0"sv)), malformed);
}

}  // namespace
}  // namespace backplane::gateway::mqtt
